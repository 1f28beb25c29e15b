/** Frames of the Centrifuge protocol that are refused, in both codings: hostile, half, too long, and at random. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Codec } from "../../../lib/protocols/centrifuge/codec.ts";
import { MAX_COMMAND_BYTES } from "../../../lib/protocols/centrifuge/frame_size.ts";
import { JSON_CODEC } from "../../../lib/protocols/centrifuge/json.ts";
import { PROTOBUF_CODEC } from "../../../lib/protocols/centrifuge/protobuf.ts";
import { frame, fromHex, isShortSyntaxError, nest, UTF8 } from "./codec_bytes.ts";
import { COMMANDS } from "./command_frames.ts";

const publish = (fields: string) => `{"id":1,"publish":{"channel":"a",${fields}}}`;
const subscribe = (fields: string) => `{"id":1,"subscribe":{"channel":"a",${fields}}}`;

const REFUSED_JSON: readonly [string, string][] = [
  ["an empty frame", ""],
  ["a line end alone", "\n"],
  ["spaces alone", "  "],
  ["a blank line before a command", "\n{}"],
  ["a blank line between commands", "{}\n\n{}"],
  ["two line ends", "{}\n\n"],
  ["a bad line after a good one", '{"id":1,"ping":{}}\n{'],
  ["no JSON", "hello"],
  ["a byte order mark", "\ufeff{}"],
  ["two commands in a line", "{} {}"],
  ["a list", "[]"],
  ["null", "null"],
  ["a number", "1.0"],
  ["a string", '"{}"'],
  ["no id", '{"connect":{}}'],
  ["id 0", '{"id":0,"connect":{}}'],
  ["a negative id", '{"id":-1,"connect":{}}'],
  ["a fraction as id", '{"id":1.5,"connect":{}}'],
  ["an id with a point", '{"id":1.0,"connect":{}}'],
  ["an id over 32 bits", '{"id":4294967296,"connect":{}}'],
  ["a text as id", '{"id":"1","connect":{}}'],
  ["an id alone", '{"id":1}'],
  ["id 0 alone", '{"id":0}'],
  ["an unknown method", '{"id":1,"subscrib":{"channel":"a"}}'],
  ["an inherited name as method", '{"id":1,"toString":{},"__proto__":{"ping":{}}}'],
  ["an unknown method without id", '{"pong":{}}'],
  ["two methods", '{"id":1,"connect":{},"ping":{}}'],
  ["a list as request", '{"id":1,"connect":[]}'],
  ["a number as request", '{"id":1,"connect":1e400}'],
  ["true as request", '{"id":1,"ping":true}'],
  ["no channel", '{"id":1,"subscribe":{}}'],
  ["an empty channel", '{"id":1,"history":{"channel":""}}'],
  ["a number as channel", '{"id":1,"publish":{"channel":1,"data":1}}'],
  ["a number as token", subscribe('"token":1')],
  ["a text as bool", subscribe('"recover":"true"')],
  ["1 as bool", subscribe('"recover":1')],
  ["a negative offset", subscribe('"offset":-1')],
  ["an offset beyond what a double holds", subscribe('"offset":9007199254740993')],
  ["an offset of 64 bits", subscribe('"offset":18446744073709551615')],
  ["a text as offset", subscribe('"offset":"1"')],
  ["a fraction as flag", subscribe('"flag":0.5')],
  ["a type over 32 bits", publish('"type":2147483648')],
  ["a limit under 32 bits", '{"id":1,"history":{"channel":"a","limit":-2147483649}}'],
  ["a number as since", '{"id":1,"history":{"channel":"a","since":1.0}}'],
  ["a list of subs", '{"id":1,"connect":{"subs":[]}}'],
  ["a number in subs", '{"id":1,"connect":{"subs":{"a":1}}}'],
  ["null in subs", '{"id":1,"connect":{"subs":{"a":null}}}'],
  ["a number in headers", '{"id":1,"connect":{"headers":{"a":1}}}'],
  ["NaN as data", publish('"data":NaN')],
  ["a raw tab in a string", publish('"data":"\t"')],
  ["numbers nested deeper than the stack", publish(`"data":${"[".repeat(30_000)}1.0${"]".repeat(30_000)}`)],
  ["brackets without end", publish(`"data":${"[".repeat(60_000)}`)],
];

for (const [name, frame] of REFUSED_JSON) {
  Deno.test(`JSON_CODEC refuses ${name}`, () => {
    assert.throws(() => JSON_CODEC.decode(frame), isShortSyntaxError);
  });
}

Deno.test("JSON_CODEC refuses bytes that are not UTF-8, or begin with a byte order mark", () => {
  const good = UTF8.encode('{"id":1,"rpc":{"method":"x"}}');
  const bad = good.map((byte) => byte === 0x78 ? 0xff : byte);
  for (const frame of [bad, Uint8Array.of(0xef, 0xbb, 0xbf, ...good)]) {
    assert.throws(() => JSON_CODEC.decode(frame), isShortSyntaxError);
    assert.throws(() => JSON_CODEC.decodeUniRequest(frame), isShortSyntaxError);
    assert.throws(() => JSON_CODEC.decodeEmulation(frame), isShortSyntaxError);
  }
});

Deno.test("JSON_CODEC bounds what of a frame is no data, and leaves data to the caller", () => {
  const long = "x".repeat(MAX_COMMAND_BYTES);
  assert.equal(JSON_CODEC.decode(publish(`"data":"${long}${long}"`)).length, 1);
  const ping = '{"id":1,"ping":{}}\n';
  const most = Math.floor(MAX_COMMAND_BYTES / ping.length);
  assert.equal(JSON_CODEC.decode(ping.repeat(most)).length, most);
  const members = Array.from({ length: MAX_COMMAND_BYTES / 8 }, (_, i) => `"${i}":{}`).join();
  for (
    const frame of [
      ping.repeat(most + 1),
      "{}\n".repeat(MAX_COMMAND_BYTES),
      publish(`"data":1,"key":"${long}"`),
      publish(`"data":1,"unknown":"${long}"`),
      subscribe(`"token":"${long}"`),
      subscribe(`"tf":{"vals":["${long}"]}`),
      `{"id":1,"connect":{"subs":{${members}}}}`,
    ]
  ) {
    assert.throws(() => JSON_CODEC.decode(frame), isShortSyntaxError, frame.slice(0, 40));
  }
  assert.throws(() => JSON_CODEC.decodeUniRequest(`{"subs":{${members}}}`), isShortSyntaxError);
});

const subscribeHex = (...fields: string[]) => frame("0801", nest("2a", "0a0161", ...fields));

const REFUSED_PROTOBUF: readonly [string, string][] = [
  ["an empty frame", ""],
  ["a length without an end", "80"],
  ["a length of eleven bytes", "ffffffffffffffffffffff00"],
  ["a length beyond the frame", "05 0801 2200"],
  ["a length of 4 GiB", "ffffffff0f"],
  ["a bad command after a good one", "04 0801 5a00 01"],
  ["a request beyond its command", "04 0801 2201 00"],
  ["a string beyond its request", frame("0801 42030a026100")],
  ["a string beyond the frame", frame("0801 42030a7f61")],
  ["a map entry beyond its request", frame("0801 22021a05 0a0161 12 00")],
  ["a varint beyond its request", frame("0801 2a021880 01")],
  ["an unfinished number", "02 08 80"],
  ["no id", frame("2200")],
  ["id 0", frame("0800 2200")],
  ["an id over 32 bits", frame("088080808010 2200")],
  ["a negative id", frame("08ffffffffffffffffff01 2200")],
  ["an id alone", frame("0801")],
  ["an unknown method", frame("0801 820100")],
  ["unknown fields alone", frame("a00605")],
  ["two methods", frame("0801 2200 5a00")],
  ["no channel", frame("0801 2a00")],
  ["an empty channel", frame("0801 3a020a00")],
  ["a number as channel", frame("0801 3a020801")],
  ["a length as id", frame("0a01 5a00")],
  ["a fixed number as id", frame("0d01000000 2200")],
  ["a string that is not UTF-8", frame("0801 42030a01ff")],
  ["a long string that is not UTF-8", frame("0801", nest("42", nest("0a", "ff".repeat(40))))],
  ["a key that is not UTF-8", frame("0801", nest("22", nest("32", "0a01ff")))],
  ["an offset beyond what a double holds", subscribeHex("388080808080808010")],
  ["an offset of 64 bits", subscribeHex("38ffffffffffffffffff01")],
  ["a negative flag", subscribeHex("70ffffffffffffffffff01")],
  ["a type over 32 bits", subscribeHex("788080808008")],
  ["field number 0", frame("0001 0801 2200")],
  ["a wire type there is not", frame("0801 2200 0e")],
  ["the end of no group", frame("0801 2200 a406")],
  ["the end of another group", frame("0801 2200 a306ac06")],
  ["a group without an end", frame("0801 2200 a306")],
  ["groups nested deeply", frame("0801 2200", "a306".repeat(30_000))],
  ["overlong field numbers", "ff".repeat(200)],
];

for (const [name, hex] of REFUSED_PROTOBUF) {
  Deno.test(`PROTOBUF_CODEC refuses ${name}`, () => {
    assert.throws(() => PROTOBUF_CODEC.decode(fromHex(hex)), isShortSyntaxError);
  });
}

Deno.test("PROTOBUF_CODEC refuses text", () => {
  assert.throws(() => PROTOBUF_CODEC.decode("{}"), isShortSyntaxError);
  assert.throws(() => PROTOBUF_CODEC.decodeUniRequest("{}"), isShortSyntaxError);
  assert.throws(() => PROTOBUF_CODEC.decodeEmulation("{}"), isShortSyntaxError);
});

Deno.test("PROTOBUF_CODEC bounds what of a frame is no data, and leaves data to the caller", () => {
  assert.equal(PROTOBUF_CODEC.decode(new Uint8Array(MAX_COMMAND_BYTES)).length, MAX_COMMAND_BYTES);
  const long = "78".repeat(MAX_COMMAND_BYTES);
  const data = frame("0801", nest("3a", "0a0161", nest("12", long)));
  assert.equal(PROTOBUF_CODEC.decode(fromHex(data)).length, 1);
  const sub = nest("2a", "0a0161", "1200");
  for (
    const hex of [
      "00".repeat(MAX_COMMAND_BYTES + 1),
      frame("0801", nest("2a", "0a0161", nest("12", long))),
      frame("0801", nest("3a", "0a0161", nest("fa01", long))),
      frame("0801", nest("22", sub.repeat(MAX_COMMAND_BYTES / 4))),
    ]
  ) {
    assert.throws(() => PROTOBUF_CODEC.decode(fromHex(hex)), isShortSyntaxError, hex.slice(0, 40));
  }
  const connect = fromHex(nest("0a", long));
  assert.throws(() => PROTOBUF_CODEC.decodeUniRequest(connect), isShortSyntaxError);
});

Deno.test("PROTOBUF_CODEC reads a frame that stands within a larger buffer", () => {
  const buffer = fromHex("ffff 04 0801 5a00 ffff");
  assert.deepEqual(PROTOBUF_CODEC.decode(buffer.subarray(2, 7)), [{ id: 1, kind: "ping", request: {} }]);
});

/** A frame is either decoded, or refused with a SyntaxError. */
function decodeOrRefuse(codec: Codec, data: string | Uint8Array): void {
  for (const decode of [codec.decode, codec.decodeUniRequest, codec.decodeEmulation]) {
    try {
      assert.ok(decode(data));
    } catch (error) {
      assert.ok(isShortSyntaxError(error), String(error));
    }
  }
}

Deno.test("JSON_CODEC refuses any other text and bytes with a SyntaxError and nothing else", () => {
  const any = fc.oneof(fc.string({ unit: "binary" }), fc.json(), fc.uint8Array({ maxLength: 100 }));
  fc.assert(fc.property(any, (frame) => decodeOrRefuse(JSON_CODEC, frame)), { numRuns: 500 });
  const value = fc.jsonValue();
  const methods = fc.constantFrom(
    "id",
    "connect",
    "subscribe",
    "publish",
    "history",
    "send",
    "subs",
    "since",
    "data",
  );
  const likely = fc.dictionary(methods, fc.oneof(value, fc.dictionary(methods, value)));
  fc.assert(fc.property(likely, (command) => decodeOrRefuse(JSON_CODEC, JSON.stringify(command))), {
    numRuns: 1_000,
  });
});

Deno.test("JSON_CODEC refuses good frames gone bad with a SyntaxError and nothing else", () => {
  const frames = fc.constantFrom(...COMMANDS.map((row) => row.json));
  const cut = fc.record({
    frame: frames,
    at: fc.nat({ max: 300 }),
    length: fc.nat({ max: 5 }),
    text: fc.string(),
  });
  fc.assert(
    fc.property(cut, ({ frame, at, length, text }) => {
      decodeOrRefuse(JSON_CODEC, frame.slice(0, at) + text + frame.slice(at + length));
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("PROTOBUF_CODEC refuses any other bytes with a SyntaxError and nothing else", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (data) => decodeOrRefuse(PROTOBUF_CODEC, data)), {
    numRuns: 1_000,
  });
  // Behind a right length, the bytes reach the fields.
  const framed = fc.uint8Array({ maxLength: 120 }).map((content) =>
    Uint8Array.of(content.length, ...content)
  );
  fc.assert(fc.property(framed, (data) => decodeOrRefuse(PROTOBUF_CODEC, data)), { numRuns: 1_000 });
  const repeated = fc.tuple(
    fc.uint8Array({ minLength: 1, maxLength: 4 }),
    fc.nat({ max: MAX_COMMAND_BYTES }),
  );
  fc.assert(
    fc.property(repeated, ([unit, length]) => {
      decodeOrRefuse(PROTOBUF_CODEC, Uint8Array.from({ length }, (_, i) => unit[i % unit.length] ?? 0));
    }),
    { numRuns: 50 },
  );
});

Deno.test("PROTOBUF_CODEC refuses good frames gone bad with a SyntaxError and nothing else", () => {
  const frames = fc.constantFrom(...COMMANDS.map((row) => fromHex(row.protobuf)));
  const change = fc.record({
    good: frames,
    at: fc.nat({ max: 60 }),
    length: fc.nat({ max: 3 }),
    bytes: fc.uint8Array(),
  });
  fc.assert(
    fc.property(change, ({ good, at, length, bytes }) => {
      decodeOrRefuse(
        PROTOBUF_CODEC,
        Uint8Array.of(...good.subarray(0, at), ...bytes, ...good.subarray(at + length)),
      );
    }),
    { numRuns: 1_000 },
  );
  const flip = fc.record({ good: frames, at: fc.nat({ max: 60 }), byte: fc.nat({ max: 255 }) });
  fc.assert(
    fc.property(flip, ({ good, at, byte }) => {
      const bad = good.slice();
      bad[at % bad.length] = byte;
      decodeOrRefuse(PROTOBUF_CODEC, bad);
    }),
    { numRuns: 1_000 },
  );
});
