/** Server-sent events: exact bytes, hostile text, and what an EventSource sees over a real connection. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Message, Payload } from "../../../lib/core/message.ts";
import { encodeEvent } from "../../../lib/protocols/url/event_stream.ts";
import { startApp, type TestApp } from "../../test_app.ts";
import { readLines } from "../../read_lines.ts";

function createMessage(payload: Payload, more: Partial<Message> = {}): Message {
  return {
    channel: "news",
    payload,
    epoch: "e1",
    offset: 3,
    sequence: 7,
    time: 0,
    event: undefined,
    from: undefined,
    socketId: undefined,
    to: undefined,
    ...more,
  };
}

const EVENTS: readonly [string, Message, string][] = [
  ["text", createMessage({ kind: "text", text: "it rains" }), "id: e1-7\ndata: it rains\n\n"],
  [
    "an event name",
    createMessage({ kind: "text", text: "x" }, { event: "rain" }),
    "id: e1-7\nevent: rain\ndata: x\n\n",
  ],
  ["JSON", createMessage({ kind: "json", text: '{"a":1}' }), 'id: e1-7\ndata: {"a":1}\n\n'],
  [
    "bytes",
    createMessage({ kind: "bytes", bytes: new Uint8Array([0, 255]) }),
    'id: e1-7\ndata: {"base64":"AP8="}\n\n',
  ],
  ["no position", createMessage({ kind: "text", text: "x" }, { sequence: 0, offset: 0 }), "data: x\n\n"],
  ["empty text", createMessage({ kind: "text", text: "" }), "id: e1-7\ndata: \n\n"],
  [
    "every line end",
    createMessage({ kind: "text", text: "a\nb\r\nc\rid: 9\n" }),
    "id: e1-7\ndata: a\ndata: b\ndata: c\ndata: id: 9\ndata: \n\n",
  ],
];

for (const [name, message, expected] of EVENTS) {
  Deno.test(`encodeEvent() writes ${name} to the byte`, () => {
    assert.equal(encodeEvent(message), expected);
  });
}

/** Reads one event back by the rules of WHATWG HTML section 9.2.6. */
function parseEvent(text: string): { id?: string; event?: string; data: string } {
  const data: string[] = [];
  const fields: { id?: string; event?: string } = {};
  for (const line of text.split(/\r\n|\r|\n/)) {
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === "data") data.push(value);
    else if (field === "id" || field === "event") fields[field] = value;
  }
  return { ...fields, data: data.join("\n") };
}

Deno.test("encodeEvent() round-trips any text, and no text forges a field", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const parsed = parseEvent(encodeEvent(createMessage({ kind: "text", text })).slice(0, -2));
    assert.deepEqual(parsed, { id: "e1-7", data: text.replaceAll(/\r\n|\r/g, "\n") });
  }));
});

/** The id that resuming starts after, to get a message. */
function idBefore(id: string): string {
  const [epoch, sequence] = id.split("-");
  return `${epoch}-${Number(sequence) - 1}`;
}

async function publish(server: TestApp, path: string, body: string): Promise<string> {
  const response = await fetch(server.url + path, {
    method: "POST",
    body,
    headers: { accept: "application/json" },
  });
  return (await response.json()).id;
}

Deno.test("An event stream opens with an id, so that a subscriber that drops before its first event resumes", async () => {
  await using server = await startApp();
  const before = await publish(server, "/news", "before");
  await using stream = await readLines(`${server.url}/news`, { accept: "text/event-stream" });
  assert.equal(stream.response.headers.get("content-type"), "text/event-stream");
  assert.deepEqual(await stream.take(5), [
    "retry: 1000",
    "event: begin",
    `id: ${before}`,
    `data: {"id":"${before}"}`,
    "",
  ]);
  const live = await publish(server, "/news?event=rain", "two\nlines");
  assert.deepEqual(await stream.take(5), [`id: ${live}`, "event: rain", "data: two", "data: lines", ""]);
});

Deno.test("Last-Event-ID outranks since and resumes without a gap or a repeat", async () => {
  await using server = await startApp();
  await publish(server, "/news", "1");
  const second = await publish(server, "/news", "2");
  const third = await publish(server, "/news", "3");
  await using stream = await readLines(`${server.url}/news?since=earliest`, {
    accept: "text/event-stream",
    "last-event-id": second,
  });
  assert.deepEqual(await stream.take(4), ["retry: 1000", `id: ${third}`, "data: 3", ""]);
});

Deno.test("An event stream whose history is gone begins with a gap event and goes on", async () => {
  await using server = await startApp();
  const first = await publish(server, "/news", "1");
  for (const lastEventId of ["other-5", "nonsense"]) {
    await using stream = await readLines(`${server.url}/news`, {
      accept: "text/event-stream",
      "last-event-id": lastEventId,
    });
    assert.deepEqual(await stream.take(8), [
      "retry: 1000",
      "event: gap",
      `id: ${idBefore(first)}`,
      `data: {"earliest":"${first}"}`,
      "",
      `id: ${first}`,
      "data: 1",
      "",
    ]);
  }
});

Deno.test("An event stream over several channels keeps their common order and ids", async () => {
  await using server = await startApp();
  await using stream = await readLines(`${server.url}/a,b/*?since=earliest`, { accept: "text/event-stream" });
  assert.deepEqual(await stream.take(1), ["retry: 1000"]);
  for (const [path, body] of [["/a", "1"], ["/b/x", "2"], ["/c", "no"], ["/a", "3"]] as const) {
    await publish(server, path, body);
  }
  const lines = (await stream.take(9)).filter((line) => line.startsWith("data"));
  assert.deepEqual(lines, ["data: 1", "data: 2", "data: 3"]);
});

Deno.test("A silent event stream is kept alive by comments", async () => {
  await using server = await startApp("--keep-alive", "1");
  await using stream = await readLines(`${server.url}/news?since=earliest`, { accept: "text/event-stream" });
  assert.deepEqual(await stream.take(3), ["retry: 1000", ": alive", ": alive"]);
});

Deno.test("An event stream ends after limit messages and leaves nothing behind", async () => {
  await using server = await startApp();
  for (const body of ["1", "2", "3"]) await publish(server, "/news", body);
  const response = await fetch(`${server.url}/news?since=earliest&limit=2`, {
    headers: { accept: "text/event-stream" },
  });
  assert.deepEqual((await response.text()).match(/data: .*/g), ["data: 1", "data: 2"]);
  assert.equal(server.app.hub.clientCount, 0);
});

Deno.test("HEAD on a stream gives its headers and opens nothing", async () => {
  await using server = await startApp();
  const response = await fetch(`${server.url}/news`, {
    method: "HEAD",
    headers: { accept: "text/event-stream" },
  });
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  assert.equal(server.app.hub.clientCount, 0);
});
