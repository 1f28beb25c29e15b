/** Text that is not well-formed is refused at every door, in every coding, and nothing of it is stored. */
import assert from "node:assert/strict";
import { createDraft } from "../../lib/core/draft.ts";
import { MessagingError } from "../../lib/core/errors.ts";
import { startApp, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";

const UTF8 = new TextEncoder();
const JSON_TYPE = "application/json";
const FORM = "application/x-www-form-urlencoded";

interface Refusal {
  readonly path?: string;
  readonly type?: string;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly code: "bad_body" | "bad_option";
}

const REFUSED: Readonly<Record<string, Refusal>> = {
  "half a pair as JSON": { type: JSON_TYPE, body: '"a\\ud800"', code: "bad_body" },
  "half a pair as data": { type: JSON_TYPE, body: '{"data":"\\uDC00b"}', code: "bad_body" },
  "a pair the wrong way round": { type: JSON_TYPE, body: '{"data":"\\udc00\\ud800"}', code: "bad_body" },
  "half a pair as event": { type: JSON_TYPE, body: '{"data":1,"event":"\\ud800"}', code: "bad_option" },
  "Latin-1 as text": { type: "text/plain", body: Uint8Array.of(0x63, 0xe9), code: "bad_body" },
  "Latin-1 as JSON": { type: JSON_TYPE, body: Uint8Array.of(0x22, 0xe9, 0x22), code: "bad_body" },
  "a surrogate as UTF-8": { type: "text/plain", body: Uint8Array.of(0xed, 0xa0, 0x80), code: "bad_body" },
  "Latin-1 in a form": { type: FORM, body: "data=caf%E9", code: "bad_body" },
  "a surrogate in a form": { type: FORM, body: "data=%ED%A0%80", code: "bad_body" },
  "Latin-1 in a form's event": { type: FORM, body: "data=1&event=caf%E9", code: "bad_body" },
  "Latin-1 in a query's event": { path: "?event=caf%E9", body: "a", code: "bad_option" },
  "Latin-1 in a query's name": { path: "?name=caf%E9", body: "a", code: "bad_option" },
};

async function readAll({ url }: TestApp): Promise<string> {
  const document = await fetch(`${url}/text?since=earliest`, { headers: { accept: JSON_TYPE } });
  return JSON.stringify((await document.json()).messages);
}

for (const [name, { path = "", type, body = "", code }] of Object.entries(REFUSED)) {
  Deno.test(`POST refuses ${name} with 400 ${code}`, async () => {
    await using app = await startApp();
    const headers = type === undefined ? {} : { "content-type": type };
    const response = await fetch(`${app.url}/text${path}`, { method: "POST", body, headers });
    assert.equal(response.status, 400);
    assert.equal((await response.json()).type, `urn:raindrops:${code}`);
    assert.equal(await readAll(app), "[]");
  });
}

for (const path of ["/text?name=caf%E9", "/text?since=%E9", "/connection/uni_sse?cf_connect=%E9"]) {
  Deno.test(`GET ${path} is refused with 400 bad_option`, async () => {
    await using app = await startApp();
    const response = await fetch(app.url + path, { headers: { accept: "text/event-stream" } });
    assert.equal(response.status, 400);
    assert.equal((await response.json()).type, "urn:raindrops:bad_option");
  });
}

for (
  const [method, body] of [
    ["publish", '{"channel":"text","data":"a\\ud800"}'],
    ["publish", '{"channel":"text","data":1,"idempotency_key":"\\ud800"}'],
    ["broadcast", '{"channels":["text"],"data":"\\udfff"}'],
    ["subscribe", '{"channel":"text","user":"\\ud800"}'],
    ["disconnect", '{"user":"u","disconnect":{"reason":"\\ud800"}}'],
  ] as const
) {
  Deno.test(`The API's ${method} refuses ${body} as a bad request`, async () => {
    await using app = await startApp();
    const response = await fetch(`${app.url}/api/${method}`, { method: "POST", body });
    assert.match(await response.text(), /"code":107/);
    assert.equal(await readAll(app), "[]");
  });
}

Deno.test("Centrifuge refuses half a surrogate pair, as JSON and as Protobuf", async () => {
  await using app = await startApp();
  await using json = await TestSocket.open(`${app.socketUrl}/connection/websocket`);
  json.send('{"id":1,"connect":{}}');
  await json.next();
  json.send('{"id":2,"publish":{"channel":"text","data":"a\\uD800"}}');
  assert.match(String(await json.next()), /"code":107/);
  await using protobuf = await TestSocket.open(`${app.socketUrl}/connection/websocket?format=protobuf`);
  protobuf.send(Uint8Array.of(4, 8, 1, 0x22, 0));
  await protobuf.next();
  const data = UTF8.encode('"\\ud800"');
  const publish = [0x0a, 4, ...UTF8.encode("text"), 0x12, data.length, ...data];
  protobuf.send(Uint8Array.of(publish.length + 4, 8, 2, 0x3a, publish.length, ...publish));
  assert.match(new TextDecoder().decode(await protobuf.next() as Uint8Array), /half a surrogate pair/);
  assert.equal(await readAll(app), "[]");
});

Deno.test("A byte order mark at the beginning of text is stored with the text", async () => {
  await using app = await startApp();
  const response = await fetch(`${app.url}/text`, { method: "POST", body: "\ufeffa" });
  assert.equal((await response.json()).offset, 1);
  assert.match(await readAll(app), /"data":"\ufeffa"/);
});

Deno.test("createDraft() refuses halves of surrogate pairs wherever they stand", () => {
  const half = "a\ud800";
  const text = { kind: "text", text: "a" } as const;
  for (
    const options of [
      { payload: { kind: "text", text: half } as const },
      { payload: { kind: "json", text: `"${half}"` } as const },
      { payload: text, event: half },
      { payload: text, idempotencyKey: half },
      { payload: text, from: { id: "a", name: half } },
      { payload: text, from: { id: "a", user: half } },
    ]
  ) {
    assert.throws(
      () => createDraft({ channel: "a", ...options }),
      (error) => error instanceof MessagingError && error.status === 400,
      JSON.stringify(options),
    );
  }
});
