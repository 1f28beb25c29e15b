/** Taking messages back: `DELETE` with and without `?id=`, and what the readers of each protocol are told of it. */
import assert from "node:assert/strict";
import { Centrifuge } from "centrifuge";
import { readLines } from "../../read_lines.ts";
import { startApp, type TestApp } from "../../test_app.ts";
import { TestSocket } from "../../test_socket.ts";

async function post({ url }: TestApp, path: string, body: string): Promise<{ id: string; offset: number }> {
  const headers = { accept: "application/json" };
  return await (await fetch(url + path, { method: "POST", body, headers })).json();
}

async function remove({ url }: TestApp, path: string, headers: HeadersInit = {}) {
  const response = await fetch(url + path, { method: "DELETE", headers });
  return { status: response.status, body: await response.json() };
}

async function readTexts({ url }: TestApp, path: string): Promise<unknown[]> {
  const { messages } = await (await fetch(`${url}${path}?since=0`)).json();
  return messages.map(({ data }: { data: unknown }) => data);
}

Deno.test("DELETE with ?id= removes one message, once", async () => {
  await using server = await startApp();
  for (const text of ["a", "b"]) await post(server, "/news", text);
  const { id } = await post(server, "/news", "c");
  assert.deepEqual(await remove(server, `/news?id=${id}`), {
    status: 200,
    body: { channel: "news", removed: 1 },
  });
  assert.deepEqual(await readTexts(server, "/news"), ["a", "b"]);
  const again = await remove(server, `/news?id=${id}`);
  assert.equal(again.status, 404);
  assert.match(again.body.detail, /removed or expired already/);
  assert.equal((await post(server, "/news", "d")).offset, 4);
});

Deno.test("DELETE with an id that is none removes nothing", async () => {
  await using server = await startApp();
  const { id } = await post(server, "/news", "a");
  for (const text of ["", "1", "a-b", "5", `${id} `, "*", `${id},${id}`]) {
    const { status, body } = await remove(server, `/news?id=${encodeURIComponent(text)}`);
    assert.equal(status, 400, text);
    assert.match(body.detail, /no id of a message/);
  }
  for (const path of [`/other?id=${id}`, "/news?id=other-1", `/news?id=${id}999`]) {
    assert.equal((await remove(server, path)).status, 404, path);
  }
  // Whoever mistypes the parameter has not asked for clearing everything.
  for (const query of [`ID=${id}`, "since=10m", `id=${id}&id=${id}`, `id=${id}&force`]) {
    const { status, body } = await remove(server, `/news?${query}`);
    assert.equal(status, 400, query);
    assert.match(body.detail, /DELETE takes/);
  }
  assert.deepEqual(await readTexts(server, "/news"), ["a"]);
});

Deno.test("DELETE with ?id= is for operators where clearing is", async () => {
  await using server = await startApp(
    "RAINDROPS_API_KEYS=a-key-of-enough-letters",
    "RAINDROPS_TOKEN_SECRET=" + "s".repeat(32),
  );
  const headers = { "x-api-key": "a-key-of-enough-letters", "accept": "application/json" };
  const posted = await fetch(`${server.url}/news`, { method: "POST", body: "a", headers });
  const { id } = await posted.json();
  assert.equal((await remove(server, `/news?id=${id}`)).status, 403);
  assert.equal((await remove(server, `/news?id=${id}`, headers)).status, 200);
});

Deno.test("A line stream and an event stream tell of what is removed, and of clearing", async () => {
  await using server = await startApp();
  const { id } = await post(server, "/news", "a");
  await using lines = await readLines(`${server.url}/news?follow`);
  await using several = await readLines(`${server.url}/*,other/*?follow`);
  await using events = await readLines(`${server.url}/news`, { accept: "text/event-stream" });
  for (const stream of [lines, several]) assert.deepEqual(await stream.take(1), [""]);
  assert.deepEqual((await events.take(5)).at(-1), "");
  await remove(server, `/news?id=${id}`);
  const told = { type: "removed", channel: "news", id, offset: 1 };
  for (const stream of [lines, several]) assert.deepEqual(JSON.parse((await stream.take(1))[0]!), told);
  assert.deepEqual(await events.take(3), ["event: removed", `data: ${JSON.stringify(told)}`, ""]);

  const last = await post(server, "/news", "b");
  await remove(server, "/news");
  await lines.take(1);
  const [line = ""] = await lines.take(1);
  assert.deepEqual(JSON.parse(line), { type: "cleared", channel: "news", id: last.id, offset: 2 });
  // Nothing is told of what is not there.
  await remove(server, "/news");
  await post(server, "/news", "c");
  assert.equal(JSON.parse((await lines.take(1))[0]!).data, "c");
});

Deno.test("A stream that replays tells of a removal behind what it replays", async () => {
  await using server = await startApp();
  const { id } = await post(server, "/news", "a");
  await post(server, "/news", "b");
  await using lines = await readLines(`${server.url}/news?follow&since=0`);
  await remove(server, `/news?id=${id}`);
  await post(server, "/news", "c");
  const seen: string[] = [];
  while (seen.at(-1) !== "c") {
    const [line = ""] = await lines.take(1);
    if (line !== "") seen.push(JSON.parse(line).data ?? "removed");
  }
  // Whether it was read before or after: who has seen the message hears that it is gone.
  assert.ok(
    ["a b removed c", "b removed c", "b c", "a removed b c"].includes(seen.join(" ")),
    seen.join(" "),
  );
});

interface Listener extends Disposable {
  /** What came beside the channel. */
  readonly heard: readonly unknown[];
  /** Resolves once "end" was published. */
  readonly ended: Promise<void>;
}

async function listen({ socketUrl }: TestApp, data: unknown): Promise<Listener> {
  const client = new Centrifuge(`${socketUrl}/connection/websocket`, { data });
  const heard: unknown[] = [];
  client.on("message", (context) => void heard.push(context.data));
  const subscription = client.newSubscription("news");
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  subscription.on("publication", (context) => context.data === "end" && resolve());
  const subscribed = new Promise((resolve) => subscription.once("subscribed", resolve));
  subscription.subscribe();
  client.connect();
  await subscribed;
  return { heard, ended, [Symbol.dispose]: () => client.disconnect() };
}

Deno.test("A Centrifuge client hears of removals if it asks for that; others and plain sockets hear nothing", async () => {
  await using server = await startApp();
  using asking = await listen(server, { name: "Ann", removals: true });
  using other = await listen(server, { name: "Ben" });
  await using socket = await TestSocket.open(`${server.socketUrl}/news`);
  const { id } = await post(server, "/news", "a");
  await remove(server, `/news?id=${id}`);
  await post(server, "/news", "end");
  assert.deepEqual([await socket.next(), await socket.next()], ["a", "end"]);
  await Promise.all([asking.ended, other.ended]);
  assert.deepEqual(asking.heard, [{ removal: { type: "removed", channel: "news", id, offset: 1 } }]);
  assert.deepEqual(other.heard, []);
});
