/** What a publisher wrote arrives as it was written: every way to publish against every way to read. */
import assert from "node:assert/strict";
import { RawSocket } from "../raw_socket.ts";
import { startApp, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";

const JSON_TYPE = { "content-type": "application/json" };
const UTF8 = new TextEncoder();

/** JSON that a parser and writer would change. */
const SOURCES = [
  '{"a": 1}',
  "[1.0, -0,1E2 , 12345678901234567890]",
  '{"\\u0061":"\\/", "b":{ } }',
  '{"a":1,"a":2}',
  '{"10":1,"2":2,"__proto__":3}',
  '["\\ud83c\\udf27","\\u2028"]',
  '{"data": {"data" :1}}',
  "0.10",
] as const;

type Publish = (app: TestApp, channel: string, source: string) => Promise<void>;

async function post(url: string, body: string): Promise<void> {
  const response = await fetch(url, { method: "POST", body, headers: JSON_TYPE });
  assert.equal(response.status, 200, await response.text());
}

/** A Protobuf message of fields with a length each, behind its own length. All are short. */
function protobuf(
  id: number,
  ...fields: readonly (readonly [number: number, content: string | Uint8Array])[]
) {
  const parts = fields.flatMap(([number, content]) => {
    const bytes = typeof content === "string" ? UTF8.encode(content) : content;
    return [number << 3 | 2, bytes.length, ...bytes];
  });
  const message = id === 0 ? parts : [8, id, ...parts];
  return Uint8Array.of(...(id === 0 ? [] : [message.length]), ...message);
}

const PROTOBUF = "/connection/websocket?format=protobuf";

const PUBLISHERS: Readonly<Record<string, Publish>> = {
  "a POST of the value": ({ url }, channel, source) =>
    post(`${url}/${channel}`, source.startsWith('{"data"') ? `{"data":${source}}` : source),
  "a POST with data": ({ url }, channel, source) =>
    post(`${url}/${channel}`, ` { "event" : "rain" , "data" : ${source} } `),
  "the API": ({ url }, channel, source) =>
    post(`${url}/api/publish`, `{"data":${source},"channel":"${channel}"}`),
  "a batch of the API": ({ url }, channel, source) =>
    post(`${url}/api/batch`, `{"commands":[{"publish":{"channel":"${channel}","data":${source}}}]}`),
  "Centrifuge as JSON": async ({ socketUrl }, channel, source) => {
    await using socket = await TestSocket.open(`${socketUrl}/connection/websocket`);
    socket.send('{"id":1,"connect":{}}');
    await socket.next();
    socket.send(`{"id":2,"publish":{"channel":"${channel}","data":${source}}}`);
    assert.match(String(await socket.next()), /"publish":\{\}/);
  },
  "Centrifuge as Protobuf": async ({ socketUrl }, channel, source) => {
    await using socket = await TestSocket.open(socketUrl + PROTOBUF);
    socket.send(protobuf(1, [4, ""]));
    await socket.next();
    socket.send(protobuf(2, [7, protobuf(0, [1, channel], [2, source])]));
    await socket.next();
  },
};

type Read = (app: TestApp, channel: string) => Promise<{ next(): Promise<string>; close(): Promise<void> }>;

const decode = (data: string | Uint8Array) =>
  typeof data === "string" ? data : new TextDecoder().decode(data);

async function openSocket(app: TestApp, path: string, ...commands: (string | Uint8Array<ArrayBuffer>)[]) {
  const socket = await TestSocket.open(app.socketUrl + path);
  for (const command of commands) {
    socket.send(command);
    await socket.next();
  }
  return {
    next: async () => decode(await socket.next()),
    close: async () => await socket[Symbol.asyncDispose](),
  };
}

async function openStream(app: TestApp, target: string, accept: string, end: string) {
  const stream = await RawSocket.open(app.port);
  await stream.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nAccept: ${accept}\r\n\r\n`);
  await stream.readUntil("\r\n\r\n");
  return {
    next: async () => await stream.readUntil(end),
    close: () => Promise.resolve(stream[Symbol.dispose]()),
  };
}

const READERS: Readonly<Record<string, Read>> = {
  "a plain WebSocket": (app, channel) => openSocket(app, `/${channel}`),
  "an event stream": (app, channel) => openStream(app, `/${channel}`, "text/event-stream", "data: "),
  "a line stream": (app, channel) => openStream(app, `/${channel}?follow`, "*/*", '"data":'),
  "Centrifuge as JSON": (app, channel) =>
    openSocket(
      app,
      "/connection/websocket",
      '{"id":1,"connect":{}}',
      `{"id":2,"subscribe":{"channel":"${channel}"}}`,
    ),
  "Centrifuge as Protobuf": (app, channel) =>
    openSocket(
      app,
      PROTOBUF,
      protobuf(1, [4, ""]),
      protobuf(2, [5, protobuf(0, [1, channel])]),
    ),
};

for (const [publisher, publish] of Object.entries(PUBLISHERS)) {
  Deno.test(`What ${publisher} publishes arrives byte for byte at every subscriber`, async () => {
    await using app = await startApp();
    for (const [i, source] of SOURCES.entries()) {
      const channel = `c${i}`;
      const readers = await Promise.all(Object.values(READERS).map((read) => read(app, channel)));
      await publish(app, channel, source);
      for (const [j, reader] of readers.entries()) {
        let text = await reader.next();
        // A stream's chunk may end within a message.
        while (!text.includes(source) && /\n|^data|"data":$/.test(text) && text.length < 2_000) {
          text += await reader.next();
        }
        assert.ok(text.includes(source), `${Object.keys(READERS)[j]} got ${text} for ${source}`);
        await reader.close();
      }
      const document = await fetch(`${app.url}/${channel}?since=earliest`, {
        headers: { accept: "application/json" },
      });
      const stored = await document.text();
      assert.ok(stored.includes(`"data":${source}`), stored);
    }
  });
}

Deno.test("Line breaks between tokens arrive as they were, or as spaces where a line is a message", async () => {
  await using app = await startApp();
  const source = '{\n"a":\r\n[1,\r2]}';
  const line = '{ "a":  [1, 2]}';
  const plain = await openSocket(app, "/lines");
  const asProtobuf = await READERS["Centrifuge as Protobuf"]!(app, "lines");
  const asJson = await READERS["Centrifuge as JSON"]!(app, "lines");
  await post(`${app.url}/lines`, `{"data":${source}}`);
  assert.equal(await plain.next(), source);
  assert.ok((await asProtobuf.next()).includes(source));
  assert.ok((await asJson.next()).includes(line));
  const document = await fetch(`${app.url}/lines?since=earliest`, {
    headers: { accept: "application/json" },
  });
  assert.ok((await document.text()).includes(`"data":${line}`));
  for (const reader of [plain, asProtobuf, asJson]) await reader.close();
});

Deno.test("A JSON string in any spelling is shown as its text, and handed on as it was written", async () => {
  await using app = await startApp();
  const source = '"\\u00e9\\/\\ud83c\\udf27"';
  const plain = await openSocket(app, "/strings");
  const asProtobuf = await READERS["Centrifuge as Protobuf"]!(app, "strings");
  await PUBLISHERS["Centrifuge as Protobuf"]!(app, "strings", source);
  assert.equal(await plain.next(), "é/🌧");
  assert.ok((await asProtobuf.next()).includes(source));
  for (const reader of [plain, asProtobuf]) await reader.close();
});
