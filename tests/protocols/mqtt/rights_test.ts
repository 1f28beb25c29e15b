/** What was on its way to a client is sent again to whoever may read it when the session goes on, and to nobody else. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import type { IClientOptions } from "mqtt";
import { Backend } from "../../hooks/backend.ts";
import { writeHooks } from "../../hooks/receiver.ts";
import { connect, type MqttApp, startMqtt } from "./app.ts";

const KEY = "operators-key-0123456789";
const SECRET = "secret-of-tokens-0123456789-0123456789";
const HEADERS = { headers: { "x-api-key": KEY } };
const SESSION = { clientId: "lamp", clean: false, protocolVersion: 4 } as const;

/** Claims of a token. */
type Claims = Readonly<Record<string, unknown>>;

async function withToken(claims: Claims): Promise<IClientOptions> {
  const token = new SignJWT({ ...claims }).setProtectedHeader({ alg: "HS256" });
  return { password: await token.sign(new TextEncoder().encode(SECRET)), username: "token" };
}

/** Leaves a session to which a message on a channel was sent, and never acknowledged. */
async function leaveUnacknowledged(
  server: MqttApp,
  channel: string,
  filter: string,
  credentials: IClientOptions,
): Promise<void> {
  await using first = await connect(server, { ...SESSION, ...credentials });
  const arrived = new Promise<void>((resolve) => first.client.handleMessage = () => resolve());
  await first.client.subscribeAsync(filter, { qos: 1 });
  const response = await fetch(`${server.url}/${channel}`, { method: "POST", body: "hidden", ...HEADERS });
  assert.equal(response.status, 200, await response.text());
  await arrived;
}

/** What comes first to whoever takes the session up: what was left, or what it may read. */
async function readFirst(server: MqttApp, credentials: IClientOptions): Promise<string> {
  await using next = await connect(server, { ...SESSION, ...credentials });
  await next.client.subscribeAsync("news");
  await (await fetch(`${server.url}/news`, { method: "POST", body: "seen", ...HEADERS })).body?.cancel();
  return (await next.next()).text;
}

Deno.test("a session that was connected with an API key takes one, whether its client is connected or not", async () => {
  for (const secret of [[], [`RAINDROPS_TOKEN_SECRET=${SECRET}`]]) {
    const rules = await writeHooks([{ channels: "news", allowAnonymous: ["subscribe"] }]);
    await using server = await startMqtt(
      ...["RAINDROPS_PUSHER_APP=1:k:s", `RAINDROPS_API_KEYS=${KEY}`, "--rules", rules, ...secret],
    );
    const operator = { username: "apikey", password: KEY };
    await leaveUnacknowledged(server, "private-a", "#", operator);
    await assert.rejects(readFirst(server, {}));
    assert.equal(await readFirst(server, operator), "hidden");
    await using live = await connect(server, { ...SESSION, ...operator });
    await assert.rejects(readFirst(server, {}));
    assert.equal(live.client.connected, true);
  }
});

Deno.test("whoever may not read a channel any more, or never might, gets nothing of it out of a session", async () => {
  const rules = await writeHooks([{ channels: "news", allow: ["subscribe"], allowAnonymous: ["subscribe"] }]);
  const settings = [`RAINDROPS_TOKEN_SECRET=${SECRET}`, `RAINDROPS_API_KEYS=${KEY}`, "--rules", rules];
  const grants = { "a/**": ["subscribe"] };
  const cases: readonly [owner: Claims, next: Claims, filter: string, expected: string][] = [
    // Nobody's sessions are those of everybody without a user.
    [{ channels: ["a/b"] }, {}, "a/b", "seen"],
    [{ grants }, {}, "a/+", "seen"],
    [{ grants }, { grants: { "b/**": ["subscribe"] } }, "a/+", "seen"],
    [{ sub: "ann", grants }, { sub: "ann" }, "a/+", "seen"],
    [{ sub: "ann", grants }, { sub: "ann", channels: ["a/b"] }, "a/+", "hidden"],
    [{ sub: "ann", grants }, { sub: "ann", grants }, "a/+", "hidden"],
  ];
  for (const [owner, next, filter, expected] of cases) {
    await using server = await startMqtt(...settings);
    await leaveUnacknowledged(server, "a/b", filter, await withToken(owner));
    const first = await readFirst(server, await withToken(next));
    assert.equal(first, expected, JSON.stringify([owner, next, filter]));
  }
});

Deno.test("where the application decides, it is asked before what was on its way is sent again", async () => {
  await using backend = new Backend();
  const url = `${backend.url}/subscribe`;
  const hooks = await writeHooks({
    callouts: { headers: ["cookie"], subscribe: { url, channels: ["private/**"] } },
  });
  await using server = await startMqtt("--hooks", hooks, `RAINDROPS_API_KEYS=${KEY}`);
  await leaveUnacknowledged(server, "private/a", "private/a", {});
  backend.answer = () => new Response(null, { status: 500 });
  await assert.rejects(readFirst(server, {}), "it is away, and the session stays");
  backend.answer = () => ({ result: {} });
  assert.equal(await readFirst(server, {}), "hidden");
  await leaveUnacknowledged(server, "private/a", "private/a", {});
  backend.answer = () => ({ error: { code: 403, message: "not yours" } });
  assert.equal(await readFirst(server, {}), "seen");
});
