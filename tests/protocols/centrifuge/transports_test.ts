/** The HTTP and unidirectional transports of the Centrifuge protocol, byte by byte. */
import assert from "node:assert/strict";
import { readLines } from "../../read_lines.ts";
import { startApp } from "../../test_app.ts";
import {
  createToken,
  OPERATED,
  publish,
  RawClient,
  type RawReply,
  readStream,
  secondsFromNow,
  startKeyedApp,
  untilCounts,
} from "./app.ts";

Deno.test("http_stream and sse answer in their way, and take further commands by emulation", async () => {
  await using server = await startApp();
  const connect = '{"id":1,"connect":{}}';
  await using lines = await readStream(server, "/connection/http_stream", connect);
  await using posted = await readStream(server, "/connection/sse", connect);
  await using events = await readLines(
    `${server.url}/connection/sse?cf_connect=${encodeURIComponent(connect)}`,
  );
  assert.deepEqual(await events.take(1), [""]);
  const transports = [
    [lines, () => lines.take(1)],
    [posted, () => posted.take(1)],
    [events, async () => (await events.take(2)).filter((line) => line !== "")],
  ] as const;
  for (const [{ response: { headers } }, take] of transports) {
    assert.equal(headers.get("x-accel-buffering"), "no");
    assert.equal(headers.get("cache-control"), "no-store");
    const next = async () => JSON.parse(((await take())[0] ?? "").replace(/^data: /, ""));
    const { connect: { session, node } } = await next();
    const emulate = async (data: unknown) => {
      const body = JSON.stringify({ session, node, data });
      const response = await fetch(`${server.url}/emulation`, { method: "POST", body });
      await response.body?.cancel();
      return response.status;
    };
    assert.equal(await emulate('{"id":2,"subscribe":{"channel":"news"}}'), 204);
    assert.equal((await next()).id, 2);
    await publish(server, "news", "1");
    assert.deepEqual((await next()).push.pub.data, "1");
    assert.equal(await emulate("no command"), 204);
    assert.deepEqual(await next(), { push: { disconnect: { code: 3501, reason: "bad request" } } });
    assert.equal(await emulate("{}"), 404, "The session is gone");
  }
  await untilCounts(server, { clients: 0 });
});

Deno.test("Emulation refuses what is of no session: 404, 400, 413", async () => {
  await using server = await startApp("--max-body-bytes", "100000");
  await using stream = await readStream(server, "/connection/http_stream", '{"id":1,"connect":{}}');
  const { connect: { node } } = JSON.parse((await stream.take(1))[0] ?? "");
  const emulate = async (body: string) => {
    const response = await fetch(`${server.url}/emulation`, { method: "POST", body });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await emulate(JSON.stringify({ session: "x", node: "other", data: "{}" })), 404);
  assert.equal(await emulate(JSON.stringify({ session: "x", node, data: "{}" })), 404);
  assert.equal(await emulate("{"), 400);
  assert.equal(await emulate(JSON.stringify({ session: 1, node, data: "{}" })), 400);
  assert.equal(await emulate("x".repeat(100_001)), 413);
});

Deno.test("Unidirectional transports push bare pushes and want no pongs", async () => {
  await using server = await startKeyedApp([], OPERATED, "--ping-interval", "1", "--pong-timeout", "1");
  const token = await createToken({ sub: "u1", channels: ["news"] });
  const request = JSON.stringify({ token, subs: { forbidden: {} } });
  const query = `cf_connect=${encodeURIComponent(request)}`;
  await using byQuery = await RawClient.open(server, `/connection/uni_websocket?${query}`);
  await using byFrame = await RawClient.open(server, "/connection/uni_websocket");
  byFrame.socket.send(request);
  await using lines = await readStream(server, "/connection/uni_http_stream", request);
  await using posted = await readStream(server, "/connection/uni_sse", request);
  await using events = await readLines(`${server.url}/connection/uni_sse?${query}`);
  assert.deepEqual(await events.take(1), [""]);
  const parse = ([line = ""]: string[]) => JSON.parse(line.replace(/^data: /, ""));
  const readers: readonly (() => Promise<RawReply>)[] = [
    () => byQuery.next(),
    () => byFrame.next(),
    async () => parse(await lines.take(1)),
    async () => parse(await posted.take(1)),
    async () => parse(await events.take(2)),
  ];
  for (const next of readers) {
    const { connect } = await next();
    assert.deepEqual([Object.keys(connect.subs), connect.ping, connect.pong], [["news"], 1, undefined]);
  }
  await publish(server, "news", "1");
  for (const next of readers) {
    const seen = [await next(), await next(), await next(), await next()];
    assert.deepEqual(seen.filter((push) => "pub" in push), [
      { channel: "news", pub: { data: "1", offset: 1 } },
    ]);
    // By the third ping, who was expected to answer the first would be gone.
    assert.deepEqual(seen.filter((push) => Object.keys(push).length === 0), [{}, {}, {}]);
  }
  await untilCounts(server, { clients: readers.length });
});

Deno.test("A unidirectional WebSocket speaks Protobuf where it is asked to", async () => {
  await using server = await startApp();
  await using client = await RawClient.open(server, "/connection/uni_websocket?format=protobuf");
  client.socket.send(new Uint8Array());
  const push = await client.socket.next();
  assert(push instanceof Uint8Array);
  // A length, then field 10: connect, in which field 1 is the client's id of 36 characters.
  assert.deepEqual([push[0], push[1], push[3], push[4]], [push.length - 1, 0x52, 0x0a, 36]);
});

Deno.test("Unidirectional clients with a bad request or token are told why", async () => {
  await using server = await startKeyedApp();
  const cases = [
    ["no JSON", 3501],
    [JSON.stringify({ token: "nonsense" }), 3500],
    [JSON.stringify({ token: await createToken({ sub: "u1", exp: secondsFromNow(-1) }) }), 3005],
    ["{}", 3501],
  ] as const;
  for (const [request, code] of cases) {
    await using client = await RawClient.open(server, "/connection/uni_websocket");
    client.socket.send(request);
    assert.equal((await client.socket.closed).code, code, request);
    await using stream = await readStream(server, "/connection/uni_http_stream", request);
    const [line = ""] = await stream.take(2);
    assert.equal(JSON.parse(line).disconnect.code, code, request);
  }
});

Deno.test("Pages of an allowed origin may use every HTTP transport, with credentials", async () => {
  await using server = await startApp("--origins", "https://example.org");
  const headers = { origin: "https://example.org" };
  for (const path of ["/connection/http_stream", "/connection/sse", "/connection/uni_sse", "/emulation"]) {
    const response = await fetch(server.url + path, { method: "OPTIONS", headers });
    assert.equal(response.status, 204);
    assert.equal(response.headers.get("access-control-allow-origin"), "https://example.org");
    assert.equal(response.headers.get("access-control-allow-credentials"), "true");
    assert.match(response.headers.get("access-control-allow-headers") ?? "", /content-type/);
    const refused = await fetch(server.url + path, {
      method: "OPTIONS",
      headers: { origin: "https://evil.example" },
    });
    await refused.body?.cancel();
    assert.equal(refused.status, 403);
  }
});

Deno.test("A unidirectional client gets the channels it asks for, as far as it may", async () => {
  await using server = await startKeyedApp([{
    channels: "open/*",
    allowAnonymous: ["subscribe", "history"],
  }]);
  await publish(server, "open/1", "missed");
  const { epoch } = server.app.hub.top;
  const request = { subs: { "open/1": { recover: true, offset: 0, epoch }, secret: {}, "a//b": {} } };
  const query = new URLSearchParams({ cf_connect: JSON.stringify(request) });
  await using stream = await readLines(`${server.url}/connection/uni_sse?${query}`);
  const pushes = async (count: number) => {
    const found: RawReply[] = [];
    while (found.length < count) {
      const [line = ""] = await stream.take(1);
      if (line.startsWith("data: ")) found.push(JSON.parse(line.slice(6)));
    }
    return found;
  };
  const [{ connect }] = await pushes(1);
  assert.deepEqual(Object.keys(connect.subs), ["open/1"]);
  assert.deepEqual(connect.subs["open/1"].publications, [{ data: "missed", offset: 1 }]);
  await publish(server, "secret", "hidden");
  await publish(server, "open/1", "live");
  assert.deepEqual(await pushes(1), [{ channel: "open/1", pub: { data: "live", offset: 2 } }]);
});
