/** What whoever runs the server watches it by: `/healthz`, `/readyz` and `/metrics`. */
import assert from "node:assert/strict";
import { VERSION } from "../../lib/config/version.ts";
import { createApp } from "../../lib/app.ts";
import { MessagingError } from "../../lib/core/errors.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";
import { TemporaryDirectory } from "../engines/sqlite/fixture.ts";
import { createConfig, startApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";
import { describeUnready } from "../../lib/observe/health.ts";

async function get(url: string, headers: Record<string, string> = {}) {
  const response = await fetch(url, { headers });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** Reads the text format as a monitor does; throws at any line that is not of it. */
function parseMetrics(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  const types = new Map<string, string>();
  for (const line of text.trimEnd().split("\n")) {
    const comment = /^# (HELP|TYPE) ([a-z_:][a-z0-9_:]*) (.+)$/.exec(line);
    if (comment?.[1] === "TYPE") {
      assert.match(comment[3]!, /^(counter|gauge|histogram)$/);
      assert.ok(!types.has(comment[2]!), `${comment[2]} has one type`);
      types.set(comment[2]!, comment[3]!);
    }
    if (comment !== null) continue;
    const sample = /^([a-z_:][a-z0-9_:]*)((?:\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"\})?) (\S+)$/.exec(line);
    assert.ok(sample, `no sample: ${line}`);
    const [, name = "", labels, value] = sample;
    const family = name.replace(/_(bucket|sum|count)$/, "");
    assert.ok(types.has(name) || types.get(family) === "histogram", `${name} has no type`);
    assert.ok(Number.isFinite(Number(value)), line);
    assert.ok(!values.has(name + labels), `${line} is there twice`);
    values.set(name + labels, Number(value));
  }
  return values;
}

Deno.test("/metrics counts what happened, in the text format of Prometheus", async () => {
  await using server = await startApp();
  await using reader = await TestSocket.open(`${server.socketUrl}/news`);
  await using stream = await fetch(`${server.url}/news?follow`).then((response) => ({
    [Symbol.asyncDispose]: () => response.body!.cancel(),
  }));
  void stream;
  for (const text of ["a", "bc"]) {
    await (await fetch(`${server.url}/news`, { method: "POST", body: text })).body?.cancel();
    await reader.next();
  }
  await get(`${server.url}/_nothing`);
  const { status, headers, text } = await get(`${server.url}/metrics`);
  assert.equal(status, 200);
  assert.match(headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  const values = parseMetrics(text);
  const expected = {
    "raindrops_published_messages_total": 2,
    "raindrops_published_bytes_total": 3,
    "raindrops_delivered_messages_total": 4,
    'raindrops_connections{protocol="plain"}': 1,
    'raindrops_connections{protocol="follow"}': 1,
    'raindrops_connections_opened_total{protocol="plain"}': 1,
    'raindrops_refusals_total{reason="not_found"}': 1,
    "raindrops_slow_subscribers_total": 0,
    [`raindrops_build_info{version="${VERSION}"}`]: 1,
    "raindrops_channels": 1,
    "raindrops_subscriptions": 2,
    "raindrops_delivery_latency_seconds_count": 2,
    'raindrops_delivery_latency_seconds_bucket{le="+Inf"}': 2,
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(values.get(name), value, name);
  for (
    const name of ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"]
  ) {
    assert.ok((values.get(name) ?? 0) > 0, name);
  }
  assert.ok(!text.includes("news"), "no channel is a label");
});

Deno.test("/metrics has the time the log takes to commit", async () => {
  await using directory = new TemporaryDirectory();
  await using server = await startApp("--engine", `sqlite:${directory.file()}`);
  await (await fetch(`${server.url}/news`, { method: "POST", body: "a" })).body?.cancel();
  const values = parseMetrics((await get(`${server.url}/metrics`)).text);
  assert.equal(values.get("raindrops_log_commit_seconds_count"), 1);
  assert.ok((values.get("raindrops_log_commit_seconds_sum") ?? 0) > 0);
});

Deno.test("/metrics is open on loopback, and asks for a key as soon as there is one", async () => {
  await using server = await startApp("RAINDROPS_API_KEYS=a-key-of-sixteen-characters");
  const refused = await get(`${server.url}/metrics`);
  assert.equal(refused.status, 401);
  assert.match(JSON.parse(refused.text).detail, /^\/metrics needs a key/);
  assert.equal((await get(`${server.url}/metrics`, { authorization: "Bearer wrong" })).status, 401);
  for (const scheme of ["Bearer", "apikey"]) {
    const headers = { authorization: `${scheme} a-key-of-sixteen-characters` };
    assert.equal((await get(`${server.url}/metrics`, headers)).status, 200);
  }
  for (const path of ["/healthz", "/readyz"]) assert.equal((await get(server.url + path)).status, 200, path);
});

Deno.test("/healthz goes on while the server drains, /readyz does not", async () => {
  const app = await createApp(createConfig(), new RecordingLogger());
  const ask = async (path: string) => {
    const request = new Request(`http://127.0.0.1${path}`);
    const response = await app.fetch(request, { address: "127.0.0.1", upgrade: () => new Response() });
    return { status: response.status, text: await response.text() };
  };
  assert.deepEqual(await ask("/readyz"), { status: 200, text: "ready\n" });
  app.drain();
  const { status, text } = await ask("/readyz");
  assert.deepEqual([status, JSON.parse(text).detail], [503, "The server is restarting"]);
  assert.deepEqual(await ask("/healthz"), { status: 200, text: "alive\n" });
  assert.equal(app.metrics.refusals.size, 0, "asking is not counted as a refusal");
  await app[Symbol.asyncDispose]();
});

Deno.test("/readyz says why the log takes no messages", async () => {
  await using server = await startApp();
  const { hub } = server.app;
  const log = { checkReady: (): string | undefined => "The disk the log is on is full" };
  const reason = describeUnready(hub, log);
  assert.equal(reason?.status, 503);
  assert.match(reason?.message ?? "", /disk .* full/);
  log.checkReady = () => undefined;
  assert.equal(describeUnready(hub, log), undefined);
  assert.equal(describeUnready(hub, {}), undefined, "a log that cannot tell is ready");
});

Deno.test("What ends a client is counted under the same reason, whatever protocol it speaks", async () => {
  await using server = await startApp();
  const { hub, metrics } = server.app;
  await using plain = await TestSocket.open(`${server.socketUrl}/news`);
  await using centrifuge = await TestSocket.open(`${server.socketUrl}/connection/websocket`);
  centrifuge.send('{"id":1,"connect":{}}');
  await centrifuge.next();
  const stream = await fetch(`${server.url}/news?follow`);
  const clients = [...hub.clients];
  assert.equal(clients.length, 3);
  for (const client of clients) {
    client.end(new MessagingError("slow_subscriber", "Too many messages are waiting"));
  }
  await Promise.all([plain.closed, centrifuge.closed, stream.text()]);
  assert.deepEqual([metrics.slowSubscribers, [...metrics.refusals]], [3, [["slow_subscriber", 3]]]);
  for (const { open } of metrics.connections.values()) assert.equal(open, 0);
  assert.deepEqual(metrics.listRefusals().map(({ what }) => what).sort(), [
    "centrifuge-json",
    "follow news",
    "plain news",
  ]);
});
