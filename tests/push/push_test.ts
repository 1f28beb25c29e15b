/** What pushes promise, with a real server and a push service on loopback that decrypts what it gets. */
import assert from "node:assert/strict";
import { ask, publish, readMetric, startPushApp, subscribe, untilMetric } from "./push_app.ts";
import { PushService } from "./push_service.ts";

const RULES = [{ channels: "news/*", push: true }];

Deno.test("A stored message of a channel that pushes reaches its subscribers, encrypted for each", async () => {
  await using service = await PushService.open();
  await using server = await startPushApp(service, RULES);
  const [first, second] = [
    await subscribe(server, service, "news/local"),
    await subscribe(server, service, "news/local"),
  ];
  await publish(server.url, "news/local", "not kept", {}, "?ephemeral");
  const id = await publish(server.url, "news/local", "it rains \u{1f327}", {}, "?name=Ann");
  await service.until(() => service.pushed.length === 2);
  assert.deepEqual(
    new Set(service.pushed.map(({ path }) => path)),
    new Set([first, second].map(({ endpoint }) => new URL(endpoint).pathname)),
  );
  for (const { notification, headers } of service.pushed) {
    assert.deepEqual(notification, {
      channel: "news/local",
      id,
      title: "news/local",
      body: "Ann: it rains \u{1f327}",
    });
    assert.match(headers.get("topic") ?? "", /^[\w-]{32}$/);
    assert.equal(headers.get("ttl"), "86400");
  }
});

Deno.test("What comes right after a push is told of together, five seconds later", async () => {
  await using service = await PushService.open();
  await using server = await startPushApp(service, RULES);
  await subscribe(server, service, "news/local");
  await publish(server.url, "news/local", "first");
  await service.until(() => service.pushed.length === 1);
  const startedAt = performance.now();
  for (const text of ["second", "third", "fourth"]) await publish(server.url, "news/local", text);
  await service.until(() => service.pushed.length === 2);
  assert.ok(performance.now() - startedAt > 3_000);
  assert.equal(service.pushed[1]!.notification.body, "3 new messages. fourth");
});

Deno.test("A subscription that its push service does not know any more is removed", async () => {
  await using service = await PushService.open();
  await using server = await startPushApp(service, RULES);
  for (const [i, status] of [404, 410].entries()) {
    const channel = `news/${i}`;
    const [gone, kept] = [
      await subscribe(server, service, channel),
      await subscribe(server, service, channel),
    ];
    const isGone = (path: string) => path === new URL(gone.endpoint).pathname;
    service.answer = (path) => new Response(null, { status: isGone(path) ? status : 201 });
    await publish(server.url, channel, "rain");
    await service.until(() => service.pushed.length === i + 1);
    await untilMetric(server.url, "raindrops_push_expired_total", i + 1);
    assert.equal(await readMetric(server.url, "raindrops_push_subscriptions"), i + 1);
    const { body } = await ask("DELETE", server.url, { channel }, { endpoint: gone.endpoint });
    assert.equal(body.removed, 0);
    assert.ok(service.requests.filter(isGone).length === 1);
    assert.equal(service.pushed.at(-1)!.path, new URL(kept.endpoint).pathname);
  }
});

Deno.test("A push service that is overloaded is tried again, one that refuses or redirects is not", async () => {
  await using service = await PushService.open();
  await using server = await startPushApp(service, RULES);
  let called = 0;
  await using other = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
    called++;
    return new Response();
  });
  await subscribe(server, service, "news/busy");
  let attempts = 0;
  service.answer = () => new Response(null, { status: ++attempts === 1 ? 503 : 201 });
  await publish(server.url, "news/busy", "rain");
  await service.until(() => service.pushed.length === 1);
  assert.equal(attempts, 2);

  for (const [i, status] of [400, 307].entries()) {
    const { endpoint } = await subscribe(server, service, `news/${status}`);
    const location = `http://127.0.0.1:${other.addr.port}/`;
    service.answer = () => new Response(null, { status, headers: { location } });
    await publish(server.url, `news/${status}`, "rain");
    await untilMetric(server.url, "raindrops_push_failures_total", i + 1);
    const { pathname } = new URL(endpoint);
    assert.equal(service.requests.filter((path) => path === pathname).length, 1);
  }
  assert.equal(called, 0);
  assert.ok(
    !JSON.stringify(server.logger.entries).includes("/push/"),
    "an endpoint is a secret, and not in the log",
  );
});

Deno.test("Subscriptions that nobody should send to are refused, and say why", async () => {
  await using service = await PushService.open();
  await using server = await startPushApp(service, RULES);
  const good = service.subscribe();
  const { host } = service;
  const { keys } = good;
  const cases: readonly (readonly [body: unknown, status: number, detail: RegExp])[] = [
    ["{", 400, /not JSON/],
    ["[]", 400, /not an object/],
    [{}, 400, /"endpoint" must be a URL/],
    [{ endpoint: "x", keys }, 400, /"endpoint" must be a URL/],
    [{ endpoint: `https://${host}/${"x".repeat(700)}`, keys }, 400, /at most 700/],
    [
      { endpoint: "https://example.org/push", keys },
      403,
      /Nothing is pushed to example.org: the services are/,
    ],
    [{ endpoint: `http://${host}/push`, keys }, 403, /Nothing is pushed/],
    [{ endpoint: `https://a:b@${host}/push`, keys }, 403, /Nothing is pushed/],
    [{ endpoint: "https://127.0.0.1/push", keys }, 403, /Nothing is pushed/],
    [{ endpoint: "https://169.254.169.254/latest", keys }, 403, /Nothing is pushed/],
    [{ endpoint: `https://${host.replace("127.0.0.1", "localhost")}/`, keys }, 403, /Nothing is pushed/],
    [{ endpoint: good.endpoint }, 400, /"keys.p256dh"/],
    [{ endpoint: good.endpoint, keys: { ...keys, p256dh: "BAAA" } }, 400, /"keys.p256dh"/],
    [{ endpoint: good.endpoint, keys: { ...keys, p256dh: `B${"A".repeat(86)}` } }, 400, /"keys.p256dh"/],
    [{ endpoint: good.endpoint, keys: { ...keys, auth: "AAAA" } }, 400, /"keys.auth"/],
    [{ ...good, more: "x".repeat(5_000) }, 413, /at most 4096 bytes/],
  ];
  for (const [body, status, detail] of cases) {
    const answer = await ask("POST", server.url, { channel: "news/1" }, body);
    assert.equal(answer.status, status, JSON.stringify([body, answer.body]));
    assert.match(answer.body.detail, detail);
  }
  const names: readonly (readonly [query: Record<string, string>, status: number, detail: RegExp])[] = [
    [{}, 400, /Name the channel/],
    [{ channel: "news/*" }, 400, /\*/],
    [{ channel: "lobby" }, 404, /"push": true/],
    [{ channel: "news/1/2" }, 404, /"push": true/],
  ];
  for (const [query, status, detail] of names) {
    const answer = await ask("POST", server.url, query, good);
    assert.equal(answer.status, status, JSON.stringify(answer.body));
    assert.match(answer.body.detail, detail);
  }
  assert.deepEqual((await ask("GET", server.url, { channel: "lobby" })).body, {
    channel: "lobby",
    pushes: false,
  });
  assert.equal(await readMetric(server.url, "raindrops_push_subscriptions"), 0);
});

Deno.test("Subscriptions are limited for each channel and in all, and one that comes again is replaced", async () => {
  await using service = await PushService.open();
  await using server = await startPushApp(
    service,
    RULES,
    "--max-channel-push-subscriptions",
    "2",
    "--max-push-subscriptions",
    "3",
  );
  const first = await subscribe(server, service, "news/1");
  // At the same time: none is lost, and none is one too many.
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => ask("POST", server.url, { channel: "news/1" }, service.subscribe())),
  );
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 400, 400, 400, 400]);
  assert.match(answers.find(({ status }) => status === 400)!.body.detail, /--max-channel-push-subscriptions/);
  assert.equal((await ask("POST", server.url, { channel: "news/1" }, first)).status, 200);
  await subscribe(server, service, "news/2");
  const { body } = await ask("POST", server.url, { channel: "news/3" }, service.subscribe());
  assert.match(body.detail, /There are 3 push subscriptions.*--max-push-subscriptions/);
  assert.equal((await ask("DELETE", server.url, { channel: "news/1" }, first)).body.removed, 1);
  await subscribe(server, service, "news/3");
});

Deno.test("An address takes its share of push subscriptions, of a channel and in all, and a user one of its own", async () => {
  await using service = await PushService.open();
  await using server = await startPushApp(
    service,
    RULES,
    ...["--max-push-subscriptions", "40", "--max-channel-push-subscriptions", "20"],
    ...["--trusted-proxy", "127.0.0.1", "--open"],
  );
  const one = { "x-forwarded-for": "192.0.2.1" };
  const other = { "x-forwarded-for": "192.0.2.2" };
  const add = (channel: string, headers: Readonly<Record<string, string>>) =>
    ask("POST", server.url, { channel }, service.subscribe(), headers);
  const first = await subscribe(server, service, "news/a", one);
  const others = await Promise.all(Array.from({ length: 4 }, () => add("news/a", one)));
  assert.deepEqual(others.map(({ status }) => status).sort(), [201, 429, 429, 429]);
  assert.match(
    others.find(({ status }) => status === 429)?.body.detail,
    /one channel.* or raise --max-share/,
  );
  assert.equal((await add("news/b", one)).status, 201);
  assert.equal((await add("news/b", one)).status, 201);
  assert.match((await add("news/c", one)).body.detail, /4 push subscriptions, a share/);
  assert.equal((await add("news/a", other)).status, 201);
  assert.equal((await ask("DELETE", server.url, { channel: "news/a" }, first, one)).status, 200);
  assert.equal((await add("news/c", one)).status, 201);
});
