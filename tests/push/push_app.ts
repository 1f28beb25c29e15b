/** An app whose rules push, and that trusts the certificate of the test's push service. */
import assert from "node:assert/strict";
import { createApp, OPENERS } from "../../lib/app.ts";
import { chooseListener } from "../../lib/config/config.ts";
import { LISTENERS } from "../../lib/listeners/mod.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";
import { createConfig } from "../test_app.ts";
import type { PushService, TestSubscription } from "./push_service.ts";

export interface PushApp extends AsyncDisposable {
  readonly url: string;
  readonly logger: RecordingLogger;
}

/** Writes a `--rules` file. */
export async function writeRules(rules: unknown): Promise<string> {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(path, JSON.stringify(rules));
  return path;
}

export async function startPushApp(
  service: PushService,
  rules: unknown,
  ...settings: readonly string[]
): Promise<PushApp> {
  const config = createConfig(
    "--push-contact",
    "mailto:ops@example.org",
    "--push-services",
    service.host,
    "--rules",
    await writeRules(rules),
    ...settings,
  );
  const logger = new RecordingLogger();
  // The app closes its client.
  const client = Deno.createHttpClient({ caCerts: [service.certificate.cert] });
  const openers = {
    ...OPENERS,
    openPush: (options: Parameters<typeof OPENERS.openPush>[0]) => OPENERS.openPush({ ...options, client }),
  };
  const app = await createApp(config, logger, undefined, openers).catch((error) => {
    client.close();
    throw error;
  });
  const listener = await LISTENERS[chooseListener(config)](
    { ...config, hostname: config.host, logger },
    (request, peer) => app.fetch(request, peer),
  );
  return {
    url: `http://127.0.0.1:${listener.port}`,
    logger,
    async [Symbol.asyncDispose]() {
      app.drain();
      await listener.close(1_000);
      await app[Symbol.asyncDispose]();
    },
  };
}

/** Asks `/_push`. */
export async function ask(
  method: string,
  url: string,
  query: Readonly<Record<string, string>>,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
  // deno-lint-ignore no-explicit-any -- tests look into what was answered
): Promise<{ readonly status: number; readonly body: any }> {
  const response = await fetch(`${url}/_push?${new URLSearchParams(query)}`, {
    method,
    headers: { accept: "application/json", ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  return { status: response.status, body: await response.json() };
}

/** Subscribes a browser to a channel, as the channel page does. */
export async function subscribe(
  { url }: Pick<PushApp, "url">,
  service: PushService,
  channel: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<TestSubscription> {
  const facts = await ask("GET", url, { channel }, undefined, headers);
  assert.equal(facts.body.pushes, true);
  service.applicationServerKey = facts.body.publicKey;
  const subscription = service.subscribe();
  const { status, body } = await ask("POST", url, { channel }, subscription, headers);
  assert.deepEqual([status, body], [201, { channel, subscribed: true }]);
  return subscription;
}

export async function publish(
  url: string,
  channel: string,
  data: string,
  headers: Readonly<Record<string, string>> = {},
  query = "",
): Promise<string> {
  const response = await fetch(`${url}/${channel}${query}`, {
    method: "POST",
    body: data,
    headers: { accept: "application/json", ...headers },
  });
  const answer = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  return answer.id;
}

/** Resolves once a metric has a value; each look at it is a request. */
export async function untilMetric(
  url: string,
  name: string,
  value: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  while (await readMetric(url, name, headers) !== value);
}

export async function readMetric(
  url: string,
  name: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`, { headers })).text();
  return Number(metrics.split("\n").find((line) => line.startsWith(`${name} `))?.split(" ")[1]);
}
