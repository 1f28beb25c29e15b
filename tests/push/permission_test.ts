/** Whose pushes go where: permission to subscribe, tokens that end, keys that come later, restarts, workers. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { startServer } from "../server_process.ts";
import { ask, publish, startPushApp, subscribe, untilMetric, writeRules } from "./push_app.ts";
import { PushService } from "./push_service.ts";

const RULES = [{ channels: "news/*", push: true }];
const SECRET = "a secret of at least 32 characters";
const KEYED = [`RAINDROPS_TOKEN_SECRET=${SECRET}`, "RAINDROPS_API_KEYS=key"];
const OPERATOR = { "x-api-key": "key" };

function bearer(claims: Readonly<Record<string, unknown>>): Record<string, string> {
  const encode = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_");
  const text = [{ alg: "HS256", typ: "JWT" }, claims].map((part) => encode(part).replace(/=+$/, "")).join(
    ".",
  );
  const signature = createHmac("sha256", SECRET).update(text).digest("base64url");
  return { authorization: `Bearer ${text}.${signature}` };
}

Deno.test("Only who may subscribe to a channel may have it pushed", async () => {
  await using service = await PushService.open();
  await using server = await startPushApp(
    service,
    [
      { channels: "news/open", allowAnonymous: ["subscribe"] },
      { channels: "news/ann", allow: ["subscribe"] },
      ...RULES,
    ],
    ...KEYED,
  );
  for (const method of ["GET", "POST"]) {
    for (
      const [channel, headers, status] of [
        ["news/ann", {}, 401],
        ["news/other", bearer({ sub: "ann" }), 403],
      ] as const
    ) {
      const body = method === "GET" ? undefined : service.subscribe();
      assert.equal((await ask(method, server.url, { channel }, body, headers)).status, status);
    }
  }
  const ann = await subscribe(server, service, "news/ann", bearer({ sub: "ann" }));
  const bob = await subscribe(server, service, "news/ann", bearer({ sub: "bob" }));
  await subscribe(server, service, "news/open");
  await subscribe(server, service, "news/other", OPERATOR);
  for (const channel of ["news/open", "news/other", "news/ann"]) {
    await publish(server.url, channel, channel, OPERATOR);
  }
  await service.until(() => service.pushed.length === 4);
  assert.deepEqual(
    service.pushed.filter(({ notification }) => notification.channel === "news/ann").map(({ path }) => path)
      .sort(),
    [ann, bob].map(({ endpoint }) => new URL(endpoint).pathname).sort(),
  );

  assert.equal((await ask("DELETE", server.url, { user: "ann" })).status, 401);
  const { body } = await ask("DELETE", server.url, { user: "ann" }, undefined, OPERATOR);
  assert.deepEqual(body, { user: "ann", removed: 1 });
});

Deno.test("Nothing is pushed for a token that has expired, nor to those whom a later configuration keeps out", async () => {
  await using service = await PushService.open();
  const folder = await Deno.makeTempDir();
  const engine = ["--engine", `sqlite:${folder}/raindrops.db`];
  const rules = [{ channels: "news/ann", allow: ["subscribe"] }, ...RULES];
  let key = "";
  {
    await using server = await startPushApp(service, rules, ...engine);
    await subscribe(server, service, "news/ann");
    key = service.applicationServerKey;
    await publish(server.url, "news/ann", "everybody may know");
    await service.until(() => service.pushed.length === 1);
  }
  {
    await using server = await startPushApp(service, rules, ...engine, ...KEYED);
    const soon = Math.ceil(Date.now() / 1_000) + 1;
    const brief = await subscribe(server, service, "news/ann", bearer({ sub: "ann", exp: soon }));
    const lasting = await subscribe(server, service, "news/ann", bearer({ sub: "bob" }));
    assert.equal(service.applicationServerKey, key, "the key outlives restarts");
    while (Date.now() <= soon * 1_000) {
      await fetch(`${server.url}/healthz`).then((response) => response.text());
    }
    await publish(server.url, "news/ann", "a secret", OPERATOR);
    await service.until(() => service.pushed.length === 2);
    assert.equal(service.pushed[1]!.path, new URL(lasting.endpoint).pathname);
    await untilMetric(server.url, "raindrops_push_expired_total", 1, OPERATOR);
    const { body } = await ask("DELETE", server.url, { channel: "news/ann" }, brief);
    assert.equal(body.removed, 0);
    assert.equal(service.requests.length, 2);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("A rule that pushes takes a contact, and permission for the services, both said at start", async () => {
  await using service = await PushService.open();
  await assert.rejects(
    startPushApp(service, RULES, "--push-contact", ""),
    /--push-contact mailto:you@example.org/,
  );
  await assert.rejects(startPushApp(service, RULES, "--push-contact", "me"), /mailto:ADDRESS/);
  // The network permission of the start task, which knows this machine alone.
  const permissions = ["--no-prompt", "--allow-net=127.0.0.1", "--allow-read", "--allow-env", "--allow-sys"];
  const flags = ["--rules", await writeRules(RULES), "--push-contact", "mailto:ops@example.org"];
  await assert.rejects(
    startServer({ permissions, flags }),
    /do not cover fcm\.googleapis\.com,updates\.push\.services\.mozilla\.com,\*\.push\.apple\.com,\*\.notify\.windows\.com of --push-services: use (?:npx -y )?deno task serve/,
  );
});

Deno.test("With workers a message is pushed once, whichever took the subscription and the message", async () => {
  await using service = await PushService.open();
  const [, cert = ""] = service.certificate.flags;
  await using server = await startServer({
    permissions: ["--allow-all", "--cert", cert],
    flags: [
      ...["--workers", "2", "--rules", await writeRules(RULES), "--push-services", service.host],
      ...["--push-contact", "mailto:ops@example.org"],
    ],
  });
  const channels = ["news/1", "news/2", "news/3", "news/4"];
  for (const channel of channels) await subscribe(server, service, channel);
  for (const channel of channels) await publish(server.url, channel, "rain");
  await service.until(() => service.pushed.length === channels.length);
  await server.stop();
  assert.deepEqual(service.pushed.map(({ notification }) => notification.channel).sort(), channels);
});
