/** Publishing later over HTTP: `at` and `delay` in every form, who may cancel, and what operators see. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { TestSocket } from "../../test_socket.ts";
import { startApp, type TestApp } from "../../test_app.ts";

const KEY = "a-key-of-sixteen-characters";
const SECRET = "a-secret-of-thirty-two-characters-or-more";

async function call(
  server: TestApp,
  path: string,
  { body, ...init }: Omit<RequestInit, "body"> & { body?: string | object } = {},
  // deno-lint-ignore no-explicit-any -- tests look into what they asked for
): Promise<{ status: number; headers: Headers; body: any }> {
  const response = await fetch(server.url + path, {
    method: body === undefined ? "GET" : "POST",
    ...init,
    headers: { accept: "application/json", ...init.headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text.startsWith("{") ? JSON.parse(text) : text,
  };
}

function sign(user: string, publish: readonly string[]): Promise<string> {
  return new SignJWT({ sub: user, grants: Object.fromEntries(publish.map((name) => [name, ["publish"]])) })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1h").sign(new TextEncoder().encode(SECRET));
}

Deno.test("delay and at publish later, by query and in the body, with every other option", async () => {
  await using server = await startApp();
  await using socket = await TestSocket.open(`${server.socketUrl}/news`);
  const answer = await call(server, "/news?delay=0.3&event=weather&id=ann&name=Ann&ttl=60", { body: "rain" });
  assert.equal(answer.status, 202);
  const { channel, scheduled, at } = answer.body;
  assert.equal(channel, "news");
  assert.match(scheduled, /^[A-Za-z0-9_-]{22}$/);
  assert.equal(answer.headers.get("location"), `/_scheduled/${scheduled}`);
  assert.ok(Math.abs(Date.parse(at) - Date.now() - 300) < 5_000);
  const json = { "content-type": "application/json" };
  const body = { data: { n: 1 }, at: new Date(Date.now() + 600).toISOString() };
  assert.equal((await call(server, "/news", { body, headers: json })).status, 202);
  assert.equal((await call(server, "/news?delay=0.1&ephemeral", { body: "passing" })).status, 202);
  await call(server, "/news", { body: "now" });
  assert.deepEqual([await socket.next(), await socket.next()], ["now", "passing"]);
  assert.deepEqual([await socket.next(), await socket.next()], ["rain", '{"n":1}']);
  const { messages } = (await call(server, "/news?since=earliest")).body;
  assert.deepEqual(messages.map(({ data }: { data: unknown }) => data), ["now", "rain", { n: 1 }]);
  const [, rain] = messages;
  assert.deepEqual([rain.event, rain.from], ["weather", { id: "ann", name: "Ann" }]);
  assert.ok(Date.parse(rain.time) >= Date.parse(at), "never before it is due");
});

Deno.test("A message for one client may be for later; what cannot be is refused with what to write", async () => {
  await using server = await startApp();
  await using socket = await TestSocket.open(`${server.socketUrl}/news?id=ann`);
  assert.equal((await call(server, "/@ann?delay=0.1", { body: "psst" })).status, 202);
  assert.equal((await call(server, "/news?to=ann&delay=0.2", { body: "you" })).status, 202);
  assert.deepEqual([await socket.next(), await socket.next()], ["psst", "you"]);
  for (
    const [query, status, detail] of [
      ["delay=soon", 400, /30s/],
      ["at=tomorrow", 400, /zone/],
      ["at=2026-01-31T12:00:00Z&delay=5", 400, /not both/],
      ["at=2020-01-31T12:00:00Z", 400, /passed/],
      ["delay=3650d", 400, /--max-schedule-ahead/],
      ["delay=5&ttl=0", 400, /ttl/],
      ["delay=5&sooner=1", 400, /at, delay/],
    ] as const
  ) {
    const answer = await call(server, `/news?${query}`, { body: "x" });
    assert.equal(answer.status, status, query);
    assert.match(answer.body.detail, detail);
  }
  assert.equal((await call(server, "/_scheduled")).body.count, 0);
});

Deno.test("Operators list what is scheduled; whoever may publish there, or scheduled it, cancels it", async () => {
  await using server = await startApp(`RAINDROPS_API_KEYS=${KEY}`, `RAINDROPS_TOKEN_SECRET=${SECRET}`);
  const ann = { authorization: `Bearer ${await sign("ann", ["news"])}` };
  const bob = { authorization: `Bearer ${await sign("bob", ["other"])}` };
  const carl = { authorization: `Bearer ${await sign("carl", ["news"])}` };
  const key = { "x-api-key": KEY };
  assert.equal((await call(server, "/news?delay=1h", { body: "x", headers: bob })).status, 403);
  assert.equal((await call(server, "/news?delay=1h", { body: "x" })).status, 401);
  const schedule = async (headers: Record<string, string>) =>
    (await call(server, "/news?delay=1h", { body: "secret rain", headers })).body.scheduled as string;
  const ids = [await schedule(ann), await schedule(ann), await schedule(key), await schedule(ann)];
  assert.equal((await call(server, "/_scheduled", { headers: ann })).status, 401);
  const list = (await call(server, "/_scheduled", { headers: key })).body;
  assert.equal(list.count, 4);
  assert.deepEqual(list.scheduled.map(({ id }: { id: string }) => id), ids);
  assert.doesNotMatch(JSON.stringify(list), /secret rain/);
  const cancel = (id: string, headers: Record<string, string>) =>
    call(server, `/_scheduled/${id}`, { method: "DELETE", headers });
  const [first, second, third, fourth] = ids as [string, string, string, string];
  assert.equal((await cancel(first, bob)).status, 403);
  assert.equal((await cancel(first, {})).status, 401);
  assert.deepEqual((await cancel(first, ann)).body, { channel: "news", cancelled: first });
  assert.equal((await cancel(first, ann)).status, 404);
  assert.equal((await cancel(second, carl)).status, 200, "who may publish on the channel");
  assert.equal((await cancel(third, ann)).status, 200);
  // Her new token does not reach the channel any more, and it is she who scheduled it.
  const moved = { authorization: `Bearer ${await sign("ann", ["elsewhere"])}` };
  assert.equal((await cancel(fourth, moved)).status, 200);
  assert.equal((await cancel("nonsense", key)).status, 404);
  assert.equal((await call(server, "/_scheduled", { headers: key })).body.count, 0);
});

Deno.test("The API schedules, lists and cancels, for one channel and for many", async () => {
  await using server = await startApp(`RAINDROPS_API_KEYS=${KEY}`);
  const api = async (method: string, body: object) =>
    (await call(server, `/api/${method}`, { body, headers: { "x-api-key": KEY } })).body;
  const { result } = await api("publish", { channel: "news", data: 1, delay: "1h", idempotency_key: "k" });
  assert.match(result.scheduled, /^[A-Za-z0-9_-]{22}$/);
  const again = await api("publish", { channel: "news", data: 1, delay: "1h", idempotency_key: "k" });
  assert.deepEqual(again.result, result);
  const reused = await api("publish", { channel: "news", data: 2, delay: "1h", idempotency_key: "k" });
  assert.equal(reused.error.code, 107);
  const at = Math.ceil(Date.now() / 1_000) + 7_200;
  const many = await api("broadcast", { channels: ["a", "b"], data: { x: 1 }, at });
  assert.deepEqual(
    many.result.responses.map(({ result }: { result: { at: string } }) => Date.parse(result.at)),
    [
      at * 1_000,
      at * 1_000,
    ],
  );
  const list = (await api("scheduled", {})).result;
  const [first, ...others] = list.messages.map(({ channel }: { channel: string }) => channel);
  // Those of one broadcast are due at the same time, in no order among them.
  assert.deepEqual([first, others.sort()], ["news", ["a", "b"]]);
  assert.equal((await api("scheduled", { channel: "b" })).result.count, 1);
  assert.deepEqual(await api("cancel_scheduled", { id: result.scheduled }), { result: {} });
  assert.ok("error" in await api("cancel_scheduled", { id: result.scheduled }));
  assert.equal((await api("cancel_scheduled", {})).error.code, 107);
  assert.equal((await api("publish", { channel: "a", data: 1, delay: true })).error.code, 107);
  assert.equal((await api("publish", { channel: "a", data: 1, delay: 5, version: 3 })).error.code, 107);
  assert.equal((await api("scheduled", {})).result.count, 2);
  const metrics = (await call(server, "/metrics", { headers: { "x-api-key": KEY } })).body;
  assert.match(metrics, /^raindrops_scheduled_messages 2$/m);
});
