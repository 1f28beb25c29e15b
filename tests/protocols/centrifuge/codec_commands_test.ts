/** Commands of the Centrifuge protocol are read from both codings, with their data, as are bare and emulated ones. */
import assert from "node:assert/strict";
import type { Payload } from "../../../lib/core/message.ts";
import { MAX_COMMAND_BYTES } from "../../../lib/protocols/centrifuge/frame_size.ts";
import { JSON_CODEC } from "../../../lib/protocols/centrifuge/json.ts";
import { PROTOBUF_CODEC } from "../../../lib/protocols/centrifuge/protobuf.ts";
import { bytes, frame, fromHex, isShortSyntaxError, json, nest, text, UTF8 } from "./codec_bytes.ts";
import { COMMANDS, CONNECT, SUBSCRIBE } from "./command_frames.ts";
import { openOfficialProtobuf } from "./samples.ts";

for (const { name, value, ...written } of COMMANDS) {
  Deno.test(`JSON_CODEC reads ${name}, as text and as bytes`, () => {
    assert.deepEqual(JSON_CODEC.decode(written.json), value);
    assert.deepEqual(JSON_CODEC.decode(UTF8.encode(written.json)), value);
  });
  Deno.test(`PROTOBUF_CODEC reads ${name}`, () => {
    assert.deepEqual(PROTOBUF_CODEC.decode(fromHex(written.protobuf)), value);
  });
}

Deno.test("JSON_CODEC reads a line end after the last command", () => {
  assert.deepEqual(JSON_CODEC.decode("{}\n"), [{ id: 0, kind: "pong" }]);
});

Deno.test("PROTOBUF_CODEC reads the last of a field that comes twice", () => {
  assert.deepEqual(PROTOBUF_CODEC.decode(fromHex(frame("0801 0802 42060a01610a0162"))), [
    { id: 2, kind: "presence", request: { channel: "b" } },
  ]);
});

/** Data as JSON text, the same in both codings. */
const DATA: readonly [string, Payload][] = [
  ['"it rains"', text("it rains")],
  ['"🌧 \\"\\n"', text('🌧 "\n')],
  ['"\\ud83c\\udf27"', json('"\\ud83c\\udf27"')],
  ['"a\\uD800"', text("a\ud800")],
  ['""', text("")],
  ["null", json("null")],
  ["1.10", json("1.10")],
  ["12345678901234567890", json("12345678901234567890")],
  ['{"id": 9007199254740993, "price": 1.10}', json('{"id": 9007199254740993, "price": 1.10}')],
  ["[1e400, -0, 0.0, 1E2, 5]", json("[1e400, -0, 0.0, 1E2, 5]")],
  ['{"\\u0061":"1.5\\n", "rawJSON":"2"}', json('{"\\u0061":"1.5\\n", "rawJSON":"2"}')],
  ['{"base64":"AP8="}', json('{"base64":"AP8="}')],
  ["[-0]", json("[-0]")],
];

function assertJsonData(written: string, payload: Payload): void {
  assert.deepEqual(JSON_CODEC.decode(`{"id":1,"publish":{"channel":"a","data":${written}}}`), [
    { id: 1, kind: "publish", request: { channel: "a", data: payload, type: 0, key: "", removed: false } },
  ]);
}

/** The payload must also outlive the frame's buffer. */
function assertProtobufData(data: Uint8Array, payload: Payload | undefined): void {
  const buffer = fromHex(frame("0801", nest("3a", "0a0161", nest("12", data.toHex()), "1801")));
  const read = PROTOBUF_CODEC.decode(buffer);
  buffer.fill(0);
  const request = { channel: "a", data: payload, type: 1, key: "", removed: false };
  assert.deepEqual(read, [{ id: 1, kind: "publish", request }]);
}

for (const [written, payload] of DATA) {
  Deno.test(`both codecs read ${JSON.stringify(written)} as ${payload.kind}, to the digit`, () => {
    assertJsonData(written, payload);
    assertProtobufData(UTF8.encode(written), payload);
  });
}

Deno.test("JSON_CODEC reads data without the white space around it", () => {
  assertJsonData("\t[ ]\r", json("[ ]"));
});

const PROTOBUF_DATA: readonly [string, Uint8Array<ArrayBuffer>, Payload | undefined][] = [
  ["a JSON object", UTF8.encode('{ "a": 12345678901234567890 }\n'), json('{ "a": 12345678901234567890 }\n')],
  ["plain text", UTF8.encode("it rains"), { kind: "bytes", bytes: UTF8.encode("it rains") }],
  ["a byte order mark before JSON", UTF8.encode("\ufeff1"), bytes(0xef, 0xbb, 0xbf, 0x31)],
  ["half a character in a JSON string", Uint8Array.of(0x22, 0xc3, 0x22), bytes(0x22, 0xc3, 0x22)],
  ["an unfinished JSON string", Uint8Array.of(0x22), bytes(0x22)],
  ["any bytes", Uint8Array.of(0, 255), bytes(0, 255)],
  ["no bytes", new Uint8Array(0), undefined],
];

for (const [name, data, payload] of PROTOBUF_DATA) {
  Deno.test(`PROTOBUF_CODEC reads ${name} as ${payload?.kind ?? "no data"}, which outlives the frame`, () => {
    assertProtobufData(data, payload);
  });
}

Deno.test("JSON_CODEC.decodeUniRequest() reads a bare connect request", () => {
  assert.deepEqual(JSON_CODEC.decodeUniRequest("{}"), CONNECT);
  assert.deepEqual(JSON_CODEC.decodeUniRequest(UTF8.encode('{"token":"t","subs":{"a":{}}}')), {
    ...CONNECT,
    token: "t",
    subs: new Map([["a", SUBSCRIBE]]),
  });
  for (const frame of ["", "[]", "{}\n{}", '{"token":1}']) {
    assert.throws(() => JSON_CODEC.decodeUniRequest(frame), isShortSyntaxError);
  }
});

Deno.test("JSON_CODEC.decodeEmulation() reads commands as a string, however long it makes the body", () => {
  const data = '{"send":{"data":"' + "\n".repeat(40_000) + '"}}';
  const body = JSON.stringify({ session: "s", node: "n", data });
  assert.ok(body.length > MAX_COMMAND_BYTES);
  assert.deepEqual(JSON_CODEC.decodeEmulation(body), { session: "s", node: "n", data });
  for (const refused of ["", "[]", '{"session":"s","node":"n","data":{}}', '{"session":1}']) {
    assert.throws(() => JSON_CODEC.decodeEmulation(refused), isShortSyntaxError);
  }
});

Deno.test("PROTOBUF_CODEC.decodeUniRequest() reads a bare connect request without its length", () => {
  assert.deepEqual(PROTOBUF_CODEC.decodeUniRequest(new Uint8Array(0)), CONNECT);
  assert.deepEqual(PROTOBUF_CODEC.decodeUniRequest(fromHex("0a0174")), { ...CONNECT, token: "t" });
  for (const hex of ["0a", "0801", "0a01ff"]) {
    assert.throws(() => PROTOBUF_CODEC.decodeUniRequest(fromHex(hex)), isShortSyntaxError);
  }
});

Deno.test("PROTOBUF_CODEC.decodeEmulation() reads what the official client writes", () => {
  const request = { session: "s", node: "n", data: fromHex("04 0801 5a00") };
  const body = openOfficialProtobuf().encodeEmulationRequest?.(request);
  assert.ok(body);
  assert.deepEqual(PROTOBUF_CODEC.decodeEmulation(new Uint8Array(body)), request);
  assert.throws(() => PROTOBUF_CODEC.decodeEmulation(fromHex("0801")), isShortSyntaxError);
});
