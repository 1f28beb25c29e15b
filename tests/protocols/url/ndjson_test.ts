/** Line streams: one JSON message object a line, for ever, as `curl -N` reads them. */
import assert from "node:assert/strict";
import { startApp } from "../../test_app.ts";
import { readLines } from "../../read_lines.ts";

Deno.test("A line stream carries every message as one JSON object a line", async () => {
  await using server = await startApp();
  await using stream = await readLines(`${server.url}/news?follow`);
  assert.equal(stream.response.headers.get("content-type"), "application/x-ndjson");
  assert.deepEqual(await stream.take(1), [""]);
  const bodies: readonly [string, string, unknown][] = [
    ["text/plain", "two\nlines\u2028", "two\nlines\u2028"],
    ["application/json", '{"data":{\n"a":1}}', { a: 1 }],
    ["application/octet-stream", "\u0001", { base64: "AQ==" }],
  ];
  for (const [type, body, data] of bodies) {
    const response = await fetch(`${server.url}/news?event=rain`, {
      method: "POST",
      body,
      headers: { "content-type": type },
    });
    const { id, offset, time } = await response.json();
    const [line = ""] = await stream.take(1);
    assert.deepEqual(JSON.parse(line), { channel: "news", id, offset, time, data, event: "rain" });
  }
});

Deno.test("A line stream names the client a message came from", async () => {
  await using server = await startApp();
  await using stream = await readLines(`${server.url}/news?follow`);
  assert.deepEqual(await stream.take(1), [""]);
  const socket = new WebSocket(`${server.socketUrl}/news?id=id1&name=John`);
  await new Promise((resolve) => socket.onopen = resolve);
  socket.send("hi");
  const [line = ""] = await stream.take(1);
  assert.deepEqual(JSON.parse(line).from, { id: "id1", name: "John" });
  const closed = new Promise((resolve) => socket.onclose = resolve);
  socket.close();
  await closed;
});

Deno.test("A line stream tells of a gap and of what is left", async () => {
  await using server = await startApp();
  const response = await fetch(`${server.url}/news`, { method: "POST", body: "left" });
  const { id } = await response.json();
  const before = id.replace(/-1$/, "-0");
  await using stream = await readLines(`${server.url}/news?follow&since=lost-4`);
  assert.deepEqual(await stream.take(2), ["", `{"type":"gap","id":"${before}","earliest":"${id}"}`]);
  const [line = ""] = await stream.take(1);
  assert.equal(JSON.parse(line).data, "left");
});

Deno.test("A line stream releases everything when its subscriber leaves", async () => {
  await using server = await startApp();
  {
    await using stream = await readLines(`${server.url}/news?follow&id=id1`);
    await stream.take(1);
    assert.equal(server.app.hub.clientCount, 1);
  }
  // Whoever asks is answered 404 as soon as the server has noticed.
  for (let status = 200; status !== 404;) {
    const response = await fetch(`${server.url}/@id1`, { method: "POST", body: "there?" });
    await response.body?.cancel();
    status = response.status;
  }
  assert.equal(server.app.hub.clientCount, 0);
  assert.equal(server.app.hub.groupCount, 0);
});
