/**
 * The Centrifuge protocol in both codings: one table of commands, replies and pushes with their exact JSON and Protobuf,
 * hostile frames of each, and agreement with the official client's codecs.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Payload } from "../../../lib/core/message.ts";
import {
  type Codec,
  type Command,
  type ConnectRequest,
  MAX_FRAME_BYTES,
  type Publication,
  type Reply,
  type SubscribeRequest,
  type UniPush,
} from "../../../lib/protocols/centrifuge/codec.ts";
import * as jsonCoding from "../../../lib/protocols/centrifuge/json.ts";
import * as protobufCoding from "../../../lib/protocols/centrifuge/protobuf.ts";
import {
  anyPayload,
  commands,
  dropZeros,
  openOfficialJson,
  openOfficialProtobuf,
  pushes,
  replies,
  spokenPayload,
  toWireCommand,
  toWirePush,
  toWireReply,
  type Wire,
} from "./samples.ts";

const { JSON_CODEC } = jsonCoding;
const { PROTOBUF_CODEC } = protobufCoding;
const UTF8 = new TextEncoder();

/** A value and what it is in each coding; `protobuf` is hexadecimal, its spaces are for the eye. */
interface Row<T> {
  readonly name: string;
  readonly value: T;
  readonly json: string;
  readonly protobuf: string;
}

/** Bytes from hexadecimal digits; spaces are ignored. */
function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

function toHex(data: string | Uint8Array): string {
  assert.ok(data instanceof Uint8Array);
  return data.toHex();
}

/** A length-delimited Protobuf field as digits: its key, the length of its content, the content. */
function nest(key: string, ...content: readonly string[]): string {
  const digits = content.join("").replaceAll(" ", "");
  let length = digits.length / 2;
  let varint = "";
  for (; length > 127; length >>= 7) varint += (length % 128 + 128).toString(16);
  return key + varint + length.toString(16).padStart(2, "0") + digits;
}

/** A command, reply or push with its length, as it stands in a frame. */
function frame(...content: readonly string[]): string {
  return nest("", ...content);
}

/** A Protobuf field that holds UTF-8. */
function utf8(key: string, value: string): string {
  return nest(key, UTF8.encode(value).toHex());
}

function isShortSyntaxError(error: unknown): boolean {
  return error instanceof SyntaxError && error.name === "SyntaxError" && error.message.length < 80;
}

const text = (value: string): Payload => ({ kind: "text", text: value });
const json = (value: string): Payload => ({ kind: "json", text: value });
const bytes = (...values: number[]): Payload => ({ kind: "bytes", bytes: Uint8Array.from(values) });

const CONNECT: ConnectRequest = {
  token: "",
  data: undefined,
  subs: new Map(),
  name: "",
  version: "",
  headers: new Map(),
};

const SUBSCRIBE: SubscribeRequest = {
  channel: "",
  token: "",
  recover: false,
  epoch: "",
  offset: 0,
  data: undefined,
  positioned: false,
  recoverable: false,
  joinLeave: false,
  delta: "",
  hasTagsFilter: false,
  flag: 0,
  type: 0,
};

const COMMANDS: readonly Row<readonly Command[]>[] = [
  { name: "a pong", value: [{ id: 0, kind: "pong" }], json: "{}", protobuf: "00" },
  {
    name: "a bare connect",
    value: [{ id: 1, kind: "connect", request: CONNECT }],
    json: '{"id":1,"connect":{}}',
    protobuf: "04 0801 2200",
  },
  {
    name: "a ping with the largest id",
    value: [{ id: 4_294_967_295, kind: "ping", request: {} }],
    json: '{"id":4294967295,"ping":{}}',
    protobuf: "08 08ffffffff0f 5a00",
  },
  {
    name: "a full connect",
    value: [{
      id: 4_294_967_295,
      kind: "connect",
      request: {
        token: "t",
        data: json('{"a":1}'),
        subs: new Map([
          ["news", { ...SUBSCRIBE, recover: true, offset: 7, epoch: "e" }],
          ["__proto__", SUBSCRIBE],
        ]),
        name: "js",
        version: "5",
        headers: new Map([["k", "v"]]),
      },
    }],
    json: '{"connect":{"token":"t","data":{"a":1},"subs":{"news":{"recover":true,"offset":7,"epoch":"e"},' +
      '"__proto__":{}},"name":"js","version":"5","headers":{"k":"v"}},"id":4294967295}',
    protobuf: frame(
      nest(
        "22",
        "0a0174",
        utf8("12", '{"a":1}'),
        nest("1a", utf8("0a", "news"), "12 07 1801 3807 320165"),
        nest("1a", utf8("0a", "__proto__"), "1200"),
        "22026a73 2a0135 32060a016b120176",
      ),
      "08ffffffff0f",
    ),
  },
  {
    name: "subs and headers without values or keys",
    value: [{
      id: 1,
      kind: "connect",
      request: { ...CONNECT, subs: new Map([["a", SUBSCRIBE]]), headers: new Map([["", ""]]) },
    }],
    json: '{"id":1,"connect":{"subs":{"a":{}},"headers":{"":""}}}',
    protobuf: frame("0801", nest("22", "1a030a0161 3200")),
  },
  {
    name: "a subscribe that recovers",
    value: [{
      id: 2,
      kind: "subscribe",
      request: { ...SUBSCRIBE, channel: "news", recover: true, epoch: "e", offset: 300 },
    }],
    json: '{"id":2,"subscribe":{"channel":"news","recover":true,"epoch":"e","offset":300}}',
    protobuf: "12 0802 2a0e 0a046e657773 1801 320165 38ac02",
  },
  {
    name: "a full subscribe",
    value: [{
      id: 2,
      kind: "subscribe",
      request: {
        channel: "news",
        token: "t",
        recover: true,
        epoch: "e",
        offset: Number.MAX_SAFE_INTEGER,
        data: text("d"),
        positioned: true,
        recoverable: true,
        joinLeave: true,
        delta: "fossil",
        hasTagsFilter: true,
        flag: 3,
        type: 1,
      },
    }],
    json:
      '{"id":2,"subscribe":{"channel":"news","token":"t","recover":true,"epoch":"e","offset":9007199254740991,' +
      '"data":"d","positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil","tf":{"op":"and"},' +
      '"flag":3,"type":1}}',
    protobuf: frame(
      "0802",
      nest(
        "2a",
        "0a046e657773 120174 1801 320165 38ffffffffffffff0f 4203226422 4801 5001 5801",
        utf8("62", "fossil"),
        "6a020a00 7003 7801",
      ),
    ),
  },
  {
    name: "several commands",
    value: [
      { id: 1, kind: "unsubscribe", request: { channel: "a" } },
      { id: 2, kind: "presence", request: { channel: "b" } },
      { id: 3, kind: "presence_stats", request: { channel: "c" } },
      { id: 4, kind: "ping", request: {} },
      { id: 5, kind: "refresh", request: { token: "t" } },
      { id: 6, kind: "sub_refresh", request: { channel: "d", token: "u", type: 2 } },
    ],
    json: '{"id":1,"unsubscribe":{"channel":"a"}}\n{"id":2,"presence":{"channel":"b"}}\n' +
      '{"id":3,"presence_stats":{"channel":"c"}}\n{"id":4,"ping":{}}\n{"id":5,"refresh":{"token":"t"}}\n' +
      '{"id":6,"sub_refresh":{"channel":"d","token":"u","type":2}}',
    protobuf: frame("0801 32030a0161") + frame("0802 42030a0162") + frame("0803 4a030a0163") +
      frame("0804 5a00") + frame("0805 72030a0174") + frame("0806 7a080a016412017518 02"),
  },
  {
    name: "history since a position",
    value: [{
      id: 1,
      kind: "history",
      request: { channel: "a", limit: -1, since: { offset: 3, epoch: "e" }, reverse: true },
    }],
    json: '{"id":1,"history":{"channel":"a","limit":-1,"since":{"offset":3,"epoch":"e"},"reverse":true}}',
    protobuf: frame("0801", nest("52", "0a0161 38ffffffffffffffffff01", nest("42", "0803120165"), "4801")),
  },
  {
    name: "sends without and with an id",
    value: [
      { id: 0, kind: "send", request: { data: json("[]") } },
      { id: 9, kind: "send", request: { data: undefined } },
    ],
    json: '{"send":{"data":[]}}\n{"id":9,"send":{}}',
    protobuf: frame("62040a025b5d") + frame("0809 6200"),
  },
  {
    name: "an rpc",
    value: [{ id: 1, kind: "rpc", request: { data: json("false"), method: "m" } }],
    json: '{"id":1,"rpc":{"data":false,"method":"m"}}',
    protobuf: frame("0801", nest("6a", utf8("0a", "false"), "12016d")),
  },
  {
    // JSON: null for fields left out as well. Protobuf: unknown fields of every wire type.
    name: "unknown fields in the command and in the request",
    value: [{ id: 1, kind: "publish", request: { channel: "a", data: json("null"), type: 0 } }],
    json: '{"id":1,"x":[],"connect":null,"publish":{"channel":"a","data":null,"y":{},"type":null}}',
    protobuf: frame(
      "0801 a00605 a1060000000000000000 a20601ff a5060000ffff a306a206000806a406",
      nest("3a", "0a0161 12046e756c6c a00605"),
    ),
  },
];

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
    { id: 1, kind: "publish", request: { channel: "a", data: payload, type: 0 } },
  ]);
}

/** The payload must also outlive the frame's buffer. */
function assertProtobufData(data: Uint8Array, payload: Payload | undefined): void {
  const buffer = fromHex(frame("0801", nest("3a", "0a0161", nest("12", data.toHex()), "1801")));
  const read = PROTOBUF_CODEC.decode(buffer);
  buffer.fill(0);
  assert.deepEqual(read, [{ id: 1, kind: "publish", request: { channel: "a", data: payload, type: 1 } }]);
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

Deno.test("JSON_CODEC bounds a frame in bytes, not in characters", () => {
  for (const unit of ["x", "é"]) {
    const fill = (count: number) => publish(`"data":"${unit.repeat(count)}"`);
    const unitSize = UTF8.encode(unit).length;
    const most = Math.floor((MAX_FRAME_BYTES - fill(0).length) / unitSize);
    for (const frame of [fill(most), UTF8.encode(fill(most))]) {
      assert.equal(JSON_CODEC.decode(frame).length, 1);
    }
    for (const frame of [fill(most + 1), UTF8.encode(fill(most + 1))]) {
      assert.throws(() => JSON_CODEC.decode(frame), isShortSyntaxError);
    }
  }
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

Deno.test("PROTOBUF_CODEC bounds a frame", () => {
  assert.equal(PROTOBUF_CODEC.decode(new Uint8Array(MAX_FRAME_BYTES)).length, MAX_FRAME_BYTES);
  const longer = new Uint8Array(MAX_FRAME_BYTES + 1);
  assert.throws(() => PROTOBUF_CODEC.decode(longer), isShortSyntaxError);
  assert.throws(() => PROTOBUF_CODEC.decodeUniRequest(longer), isShortSyntaxError);
});

Deno.test("PROTOBUF_CODEC reads a frame that stands within a larger buffer", () => {
  const buffer = fromHex("ffff 04 0801 5a00 ffff");
  assert.deepEqual(PROTOBUF_CODEC.decode(buffer.subarray(2, 7)), [{ id: 1, kind: "ping", request: {} }]);
});

const INFO = { user: "u", client: "c", connInfo: '{"a":1}', chanInfo: "[2]" };
const INFO_JSON = '{"user":"u","client":"c","conn_info":{"a":1},"chan_info":[2]}';
const INFO_HEX = "0a0175 120163 1a077b2261223a317d 22035b325d";

const PUBLICATION: Publication = {
  data: json('{"n":12345678901234567890}'),
  info: INFO,
  offset: 9_007_199_254_740_991,
  tags: new Map([["k", "v"], ["l", ""]]),
  delta: true,
  time: 300,
  channel: "a/b",
};
const PUBLICATION_JSON = `{"data":{"n":12345678901234567890},"info":${INFO_JSON},"offset":9007199254740991,` +
  '"tags":{"k":"v","l":""},"delta":true,"time":300,"channel":"a/b"}';
const PUBLICATION_HEX = utf8("22", '{"n":12345678901234567890}') + nest("2a", INFO_HEX) +
  "30ffffffffffffff0f 3a060a016b120176 3a030a016c 4001 48ac02 5203612f62";

const REPLIES: readonly Row<Reply>[] = [
  { name: "a ping", value: { kind: "server_ping" }, json: "{}", protobuf: "00" },
  {
    name: "an error",
    value: { id: 1, kind: "error", error: { code: 103, message: "no" } },
    json: '{"id":1,"error":{"code":103,"message":"no"}}',
    protobuf: "0a 0801 1206 0867 12026e6f",
  },
  {
    name: "a temporary error",
    value: { id: 1, kind: "error", error: { code: 100, message: 'a\n"', temporary: true } },
    json: '{"id":1,"error":{"code":100,"message":"a\\n\\"","temporary":true}}',
    protobuf: frame("0801", nest("12", "0864 1203610a22 1801")),
  },
  {
    name: "a connect result",
    value: {
      id: 1,
      kind: "connect",
      result: {
        client: "c",
        version: "1",
        expires: true,
        ttl: 60,
        data: text("d"),
        subs: new Map([['"', { recoverable: true, epoch: "e", positioned: true }], ["b", {}]]),
        ping: 25,
        pong: true,
        session: "s",
        node: "n",
        time: 300,
      },
    },
    json: '{"id":1,"connect":{"client":"c","version":"1","expires":true,"ttl":60,"data":"d",' +
      '"subs":{"\\"":{"recoverable":true,"epoch":"e","positioned":true},"b":{}},"ping":25,"pong":true,' +
      '"session":"s","node":"n","time":300}}',
    protobuf: frame(
      "0801",
      nest(
        "2a",
        "0a0163 120131 1801 203c 2a03226422",
        nest("32", "0a0122", nest("12", "1801 320165 5001")),
        nest("32", "0a0162", "1200"),
        "3819 4001 4a0173 52016e 58ac02",
      ),
    ),
  },
  {
    name: "an almost empty connect result",
    value: { id: 1, kind: "connect", result: { client: "c", ttl: 0, pong: false } },
    json: '{"id":1,"connect":{"client":"c"}}',
    protobuf: frame("0801 2a03 0a0163"),
  },
  {
    name: "a subscribe result",
    value: {
      id: 2,
      kind: "subscribe",
      result: {
        expires: true,
        ttl: 1,
        recoverable: true,
        epoch: "e",
        publications: [{ data: text("a"), offset: 3 }, { data: json("4"), offset: 4 }],
        recovered: true,
        offset: 2,
        positioned: true,
        data: json("{}"),
        wasRecovering: true,
        delta: true,
      },
    },
    json: '{"id":2,"subscribe":{"expires":true,"ttl":1,"recoverable":true,"epoch":"e",' +
      '"publications":[{"data":"a","offset":3},{"data":4,"offset":4}],"recovered":true,"offset":2,' +
      '"positioned":true,"data":{},"was_recovering":true,"delta":true}}',
    protobuf: frame(
      "0802",
      nest(
        "32",
        "0801 1001 1801 320165 3a07 2203226122 3003 3a05 220134 3004",
        "4001 4802 5001 5a027b7d 6001 6801",
      ),
    ),
  },
  {
    name: "an empty subscribe result",
    value: { id: 2, kind: "subscribe", result: { publications: [], offset: 0, epoch: "" } },
    json: '{"id":2,"subscribe":{}}',
    protobuf: "04 0802 3200",
  },
  {
    name: "an unsubscribe result",
    value: { id: 3, kind: "unsubscribe", result: {} },
    json: '{"id":3,"unsubscribe":{}}',
    protobuf: "04 0803 3a00",
  },
  {
    name: "a publish result",
    value: { id: 3, kind: "publish", result: {} },
    json: '{"id":3,"publish":{}}',
    protobuf: "04 0803 4200",
  },
  {
    name: "a ping result",
    value: { id: 3, kind: "ping", result: {} },
    json: '{"id":3,"ping":{}}',
    protobuf: "04 0803 6200",
  },
  {
    name: "the clients present",
    value: { id: 4, kind: "presence", result: { presence: new Map([["c", { user: "", client: "c" }]]) } },
    json: '{"id":4,"presence":{"presence":{"c":{"user":"","client":"c"}}}}',
    protobuf: frame("0804", nest("4a", nest("0a", "0a0163", nest("12", "120163")))),
  },
  {
    name: "an empty presence",
    value: { id: 4, kind: "presence", result: { presence: new Map() } },
    json: '{"id":4,"presence":{"presence":{}}}',
    protobuf: "04 0804 4a00",
  },
  {
    name: "presence counts of 0",
    value: { id: 5, kind: "presence_stats", result: { numClients: 0, numUsers: 0 } },
    json: '{"id":5,"presence_stats":{"num_clients":0,"num_users":0}}',
    protobuf: "04 0805 5200",
  },
  {
    name: "presence counts",
    value: { id: 5, kind: "presence_stats", result: { numClients: 300, numUsers: 1 } },
    json: '{"id":5,"presence_stats":{"num_clients":300,"num_users":1}}',
    protobuf: "09 0805 5205 08ac02 1001",
  },
  {
    name: "an empty history",
    value: { id: 6, kind: "history", result: { publications: [], epoch: "", offset: 0 } },
    json: '{"id":6,"history":{"publications":[],"epoch":"","offset":0}}',
    protobuf: "04 0806 5a00",
  },
  {
    name: "a history",
    value: { id: 6, kind: "history", result: { publications: [PUBLICATION], epoch: "e", offset: 9 } },
    json: `{"id":6,"history":{"publications":[${PUBLICATION_JSON}],"epoch":"e","offset":9}}`,
    protobuf: frame("0806", nest("5a", nest("0a", PUBLICATION_HEX), "120165 1809")),
  },
  {
    name: "an rpc result",
    value: { id: 7, kind: "rpc", result: { data: json("null") } },
    json: '{"id":7,"rpc":{"data":null}}',
    protobuf: frame("0807", nest("6a", utf8("0a", "null"))),
  },
  {
    name: "an rpc result of empty text",
    value: { id: 7, kind: "rpc", result: { data: text("") } },
    json: '{"id":7,"rpc":{"data":""}}',
    protobuf: "08 0807 6a04 0a022222",
  },
  {
    name: "an rpc result without data",
    value: { id: 7, kind: "rpc", result: {} },
    json: '{"id":7,"rpc":{}}',
    protobuf: "04 0807 6a00",
  },
  {
    name: "a refresh result",
    value: {
      id: 8,
      kind: "refresh",
      result: { client: "c", version: "1", expires: true, ttl: 4_294_967_295 },
    },
    json: '{"id":8,"refresh":{"client":"c","version":"1","expires":true,"ttl":4294967295}}',
    protobuf: frame("0808", nest("72", "0a0163 120131 1801 20ffffffff0f")),
  },
  {
    name: "a sub_refresh result",
    value: { id: 9, kind: "sub_refresh", result: { expires: true, ttl: 9 } },
    json: '{"id":9,"sub_refresh":{"expires":true,"ttl":9}}',
    protobuf: "08 0809 7a04 0801 1009",
  },
];

for (const { name, value, ...written } of REPLIES) {
  Deno.test(`JSON_CODEC writes ${name} to the byte`, () => {
    assert.equal(JSON_CODEC.encode([value]), written.json);
  });
  Deno.test(`PROTOBUF_CODEC writes ${name} to the byte`, () => {
    assert.equal(toHex(PROTOBUF_CODEC.encode([value])), written.protobuf.replaceAll(" ", ""));
  });
}

const pub = (content: Publication): UniPush => ({ kind: "pub", channel: "a", content });

/** Pushes; their Protobuf is without the length before it, which differs between bare pushes and replies. */
const PUSHES: readonly Row<UniPush>[] = [
  { name: "a ping", value: { kind: "server_ping" }, json: "{}", protobuf: "" },
  {
    name: "a publication",
    value: { kind: "pub", channel: 'a"', content: PUBLICATION },
    json: `{"channel":"a\\"","pub":${PUBLICATION_JSON}}`,
    protobuf: "12026122" + nest("22", PUBLICATION_HEX),
  },
  {
    name: "text",
    value: pub({ data: text('é"\n'), offset: 1 }),
    json: '{"channel":"a","pub":{"data":"é\\"\\n","offset":1}}',
    protobuf: "120161" + nest("22", utf8("22", '"é\\"\\n"'), "3001"),
  },
  {
    name: "bytes",
    value: pub({ data: bytes(0, 255) }),
    json: '{"channel":"a","pub":{"data":{"base64":"AP8="}}}',
    protobuf: "120161 2204 220200ff",
  },
  {
    name: "no bytes",
    value: pub({ data: bytes() }),
    json: '{"channel":"a","pub":{"data":{"base64":""}}}',
    protobuf: "120161 2200",
  },
  {
    name: "a whole text among deltas",
    value: pub({ data: { kind: "whole", payload: text("x") } }),
    json: '{"channel":"a","pub":{"data":"\\"x\\""}}',
    protobuf: "120161 2205 2203227822",
  },
  {
    name: "a whole object among deltas",
    value: pub({ data: { kind: "whole", payload: json('{"a":1}') } }),
    json: '{"channel":"a","pub":{"data":"{\\"a\\":1}"}}',
    protobuf: "120161" + nest("22", utf8("22", '{"a":1}')),
  },
  {
    name: "whole bytes among deltas",
    value: pub({ data: { kind: "whole", payload: bytes(255) } }),
    json: '{"channel":"a","pub":{"data":"{\\"base64\\":\\"/w==\\"}"}}',
    protobuf: "120161 2203 2201ff",
  },
  {
    name: "a delta",
    value: pub({ data: { kind: "delta", bytes: UTF8.encode("5\né") }, delta: true }),
    json: '{"channel":"a","pub":{"data":"5\\né","delta":true}}',
    protobuf: "120161" + nest("22", utf8("22", "5\né"), "4001"),
  },
  {
    name: "a join",
    value: { kind: "join", channel: "a", content: { info: INFO } },
    json: `{"channel":"a","join":{"info":${INFO_JSON}}}`,
    protobuf: "120161" + nest("2a", nest("0a", INFO_HEX)),
  },
  {
    name: "a leave",
    value: { kind: "leave", channel: "a", content: { info: { user: "", client: "", chanInfo: "1" } } },
    json: '{"channel":"a","leave":{"info":{"user":"","client":"","chan_info":1}}}',
    protobuf: "120161 3205 0a03 220131",
  },
  {
    name: "an unsubscribe",
    value: { kind: "unsubscribe", channel: "a", content: { code: 2500, reason: "gap" } },
    json: '{"channel":"a","unsubscribe":{"code":2500,"reason":"gap"}}',
    protobuf: "120161 3a08 10c413 1a03676170",
  },
  {
    name: "a subscribe",
    value: {
      kind: "subscribe",
      channel: "a",
      content: { recoverable: true, epoch: "e", offset: 1, positioned: true, data: text("") },
    },
    json:
      '{"channel":"a","subscribe":{"recoverable":true,"epoch":"e","offset":1,"positioned":true,"data":""}}',
    protobuf: "120161 4a0d 0801 220165 2801 3001 3a022222",
  },
  {
    name: "a message",
    value: { kind: "message", content: { data: json("1") } },
    json: '{"message":{"data":1}}',
    protobuf: "4203 0a0131",
  },
  {
    name: "a connect",
    value: {
      kind: "connect",
      content: {
        client: "c",
        version: "1",
        expires: true,
        ttl: 60,
        data: json("1"),
        subs: new Map([["a", { recoverable: true }]]),
        ping: 25,
        pong: true,
        session: "s",
        node: "n",
        time: 300,
      },
    },
    json: '{"connect":{"client":"c","version":"1","data":1,"subs":{"a":{"recoverable":true}},' +
      '"expires":true,"ttl":60,"ping":25,"pong":true,"session":"s","node":"n","time":300}}',
    protobuf: nest(
      "52",
      "0a0163 120131 1a0131",
      nest("22", "0a0161", "12021801"),
      "2801 303c 3819 4001 4a0173 52016e 58ac02",
    ),
  },
  {
    name: "a disconnect",
    value: { kind: "disconnect", content: { code: 3001, reason: "r" } },
    json: '{"disconnect":{"code":3001,"reason":"r"}}',
    protobuf: "5a06 08b917 120172",
  },
  {
    name: "a refresh",
    value: { kind: "refresh", content: { expires: true, ttl: 3 } },
    json: '{"refresh":{"expires":true,"ttl":3}}',
    protobuf: "6204 0801 1003",
  },
];

for (const { name, value: push, ...written } of PUSHES) {
  Deno.test(`JSON_CODEC pushes ${name} to the byte, bare and as a reply`, () => {
    assert.equal(JSON_CODEC.encodeUni([push]), written.json);
    if (push.kind === "server_ping") return;
    const reply = `{"push":${written.json}}`;
    assert.equal(JSON_CODEC.encode([{ kind: "push", push }]), reply);
    if (push.kind !== "pub") return;
    assert.equal(jsonCoding.encodePublicationPush(push.channel, push.content), reply);
    assert.equal(jsonCoding.encodeUniPublication(push.channel, push.content), written.json);
  });
  Deno.test(`PROTOBUF_CODEC pushes ${name} to the byte, bare and as a reply`, () => {
    const bare = frame(written.protobuf);
    assert.equal(toHex(PROTOBUF_CODEC.encodeUni([push])), bare);
    if (push.kind === "server_ping") return;
    const reply = frame(nest("22", written.protobuf));
    assert.equal(toHex(PROTOBUF_CODEC.encode([{ kind: "push", push }])), reply);
    if (push.kind !== "pub") return;
    assert.equal(toHex(protobufCoding.encodePublicationPush(push.channel, push.content)), reply);
    assert.equal(toHex(protobufCoding.encodeUniPublication(push.channel, push.content)), bare);
  });
}

Deno.test("PROTOBUF_CODEC pushes a delta of bytes that are not UTF-8", () => {
  const push = pub({ data: { kind: "delta", bytes: Uint8Array.of(255) }, delta: true });
  assert.equal(toHex(PROTOBUF_CODEC.encodeUni([push])), frame("120161 2205 2201ff 4001"));
});

Deno.test("JSON_CODEC joins what stands in one frame by line ends, without a last one", () => {
  assert.equal(
    JSON_CODEC.encode([{ kind: "server_ping" }, { id: 1, kind: "publish", result: {} }]),
    '{}\n{"id":1,"publish":{}}',
  );
  assert.equal(JSON_CODEC.encodeUni([{ kind: "server_ping" }, { kind: "server_ping" }]), "{}\n{}");
});

Deno.test("JSON_CODEC.decodeUniRequest() reads a bare connect request", () => {
  assert.deepEqual(JSON_CODEC.decodeUniRequest("{}"), CONNECT);
  assert.deepEqual(JSON_CODEC.decodeUniRequest(UTF8.encode('{"token":"t","subs":{"a":{}}}')), {
    ...CONNECT,
    token: "t",
    subs: new Map([["a", SUBSCRIBE]]),
  });
  for (const frame of ["", "[]", "{}\n{}", '{"token":1}', "{}".padEnd(MAX_FRAME_BYTES + 1)]) {
    assert.throws(() => JSON_CODEC.decodeUniRequest(frame), isShortSyntaxError);
  }
});

Deno.test("JSON_CODEC.decodeEmulation() reads commands as a string, however long it makes the body", () => {
  const data = '{"send":{"data":"' + "\n".repeat(40_000) + '"}}';
  const body = JSON.stringify({ session: "s", node: "n", data });
  assert.ok(body.length > MAX_FRAME_BYTES);
  assert.deepEqual(JSON_CODEC.decodeEmulation(body), { session: "s", node: "n", data });
  for (const refused of ["", "[]", '{"session":"s","node":"n","data":{}}', '{"session":1}']) {
    assert.throws(() => JSON_CODEC.decodeEmulation(refused), isShortSyntaxError);
  }
});

Deno.test("PROTOBUF_CODEC puts several replies and pushes into one frame", () => {
  const publish: Reply = { id: 1, kind: "publish", result: {} };
  assert.equal(
    toHex(PROTOBUF_CODEC.encode([publish, { kind: "server_ping" }, publish])),
    "0408014200000408014200",
  );
  assert.equal(toHex(PROTOBUF_CODEC.encodeUni([{ kind: "server_ping" }, { kind: "server_ping" }])), "0000");
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

/** What the official client read, as plain objects: its long numbers as numbers, its bytes as bytes. */
function toPlain(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(toPlain);
  if (typeof value !== "object" || value === null) return value;
  if ("toNumber" in value && typeof value.toNumber === "function") return value.toNumber();
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toPlain(item)]));
}

/** A codec beside the official client's codec of the same coding. */
interface Coding {
  readonly codec: Codec;
  readonly openOfficial: () => {
    encodeCommands(commands: readonly unknown[]): string | Uint8Array;
    decodeReplies(frame: string | Uint8Array): unknown[];
  };
  /** Payloads that clients of the coding can write. */
  readonly written: typeof anyPayload;
  /** Data as clients of the coding have them. */
  readonly wire: Wire;
  /** A bare push wrapped into a reply. */
  readonly wrap: (bare: string | Uint8Array) => string | Uint8Array;
}

const CODINGS: readonly Coding[] = [
  {
    codec: JSON_CODEC,
    openOfficial() {
      const official = openOfficialJson();
      return {
        encodeCommands: (commands) => official.encodeCommands(commands),
        decodeReplies: (frame) => official.decodeReplies(String(frame)),
      };
    },
    // The digits that JavaScript cannot write are in the table of data above.
    written: spokenPayload.filter((payload) =>
      payload.kind !== "json" || JSON.stringify(JSON.parse(payload.text)) === payload.text
    ),
    wire: {
      data(payload) {
        if (payload.kind === "text") return payload.text;
        return payload.kind === "json" ? JSON.parse(payload.text) : { base64: payload.bytes.toBase64() };
      },
      info: (text) => JSON.parse(text),
    },
    wrap: (bare) => `{"push":${bare}}`,
  },
  {
    codec: PROTOBUF_CODEC,
    openOfficial() {
      const official = openOfficialProtobuf();
      return {
        encodeCommands: (commands) => official.encodeCommands(commands),
        decodeReplies(frame) {
          assert.ok(frame instanceof Uint8Array);
          return official.decodeReplies(frame);
        },
      };
    },
    written: anyPayload,
    wire: {
      data(payload) {
        if (payload.kind === "bytes") return payload.bytes;
        return UTF8.encode(payload.kind === "text" ? JSON.stringify(payload.text) : payload.text);
      },
      info: (text) => UTF8.encode(text),
    },
    // A reply holds the push as its field 4, with the same length before it.
    wrap: (bare) => fromHex(frame("22", toHex(bare))),
  },
];

for (const { codec, openOfficial, written, wire, wrap } of CODINGS) {
  const name = `${codec.name.toUpperCase()}_CODEC`;

  Deno.test(`${name} reads what the official client writes`, () => {
    const official = openOfficial();
    fc.assert(fc.property(fc.array(commands(written), { minLength: 1, maxLength: 4 }), (expected) => {
      const data = official.encodeCommands(expected.map((command) => toWireCommand(command, wire)));
      // The official client may return a Buffer.
      assert.deepEqual(codec.decode(typeof data === "string" ? data : new Uint8Array(data)), expected);
    }));
  });

  Deno.test(`${name} writes what the official client reads`, () => {
    const official = openOfficial();
    fc.assert(fc.property(fc.array(replies, { minLength: 1, maxLength: 4 }), (sent) => {
      const read = official.decodeReplies(codec.encode(sent)).map((reply) => dropZeros(toPlain(reply)));
      assert.deepEqual(read, sent.map((reply) => dropZeros(toWireReply(reply, wire))));
    }));
  });

  Deno.test(`${name} writes bare pushes as it writes them in replies`, () => {
    const official = openOfficial();
    fc.assert(fc.property(pushes, (push) => {
      const reply = wrap(codec.encodeUni([push]));
      assert.deepEqual(codec.encode([{ kind: "push", push }]), reply);
      const read = official.decodeReplies(reply).map((value) => dropZeros(toPlain(value)));
      assert.deepEqual(read, [dropZeros({ push: toWirePush(push, wire) })]);
    }));
  });
}

Deno.test("JSON_CODEC writes each reply on one line", () => {
  fc.assert(fc.property(fc.array(replies, { minLength: 1, maxLength: 4 }), (sent) => {
    const lines = String(JSON_CODEC.encode(sent));
    assert.equal(lines.split("\n").length, sent.length);
    assert.doesNotMatch(lines, /\r/);
  }));
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
  const repeated = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 4 }), fc.nat({ max: MAX_FRAME_BYTES }));
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
