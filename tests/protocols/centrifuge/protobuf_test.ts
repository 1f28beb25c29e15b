/** The Centrifuge protocol as Protobuf: exact bytes, hostile bytes, and agreement with the official client's codec. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Payload } from "../../../lib/core/message.ts";
import {
  type Command,
  MAX_FRAME_BYTES,
  type Publication,
  type Reply,
  type SubscribeRequest,
  type UniPush,
} from "../../../lib/protocols/centrifuge/codec.ts";
import {
  encodePublicationPush,
  encodeUniPublication,
  PROTOBUF_CODEC,
} from "../../../lib/protocols/centrifuge/protobuf.ts";
import {
  anyPayload,
  commands,
  dropZeros,
  openOfficialProtobuf,
  pushes,
  replies,
  toWireCommand,
  toWirePush,
  toWireReply,
  type Wire,
} from "./samples.ts";

const UTF8 = new TextEncoder();

/** Bytes from hexadecimal digits; spaces are for the reader. */
function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

/** A field's key, the length of its content, the content: all as digits. Without a key, what stands in a frame. */
function nest(key: string, ...content: readonly string[]): string {
  const digits = content.join("").replaceAll(" ", "");
  let length = digits.length / 2;
  let varint = "";
  for (; length > 127; length >>= 7) varint += (length % 128 + 128).toString(16);
  return key + varint + length.toString(16).padStart(2, "0") + digits;
}

function frame(...content: readonly string[]): string {
  return nest("", ...content);
}

const text = (value: string): Payload => ({ kind: "text", text: value });
const json = (value: string): Payload => ({ kind: "json", text: value });
const bytes = (...values: number[]): Payload => ({ kind: "bytes", bytes: Uint8Array.from(values) });

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

const CONNECT = { token: "", data: undefined, subs: new Map(), name: "", version: "", headers: new Map() };

const FRAMES: readonly [string, string, readonly Command[]][] = [
  ["a pong", "00", [{ id: 0, kind: "pong" }]],
  ["a bare connect", "04 0801 2200", [{ id: 1, kind: "connect", request: CONNECT }]],
  ["a ping with the largest id", "08 08ffffffff0f 5a00", [{ id: 4_294_967_295, kind: "ping", request: {} }]],
  [
    "a subscribe that recovers",
    "12 0802 2a0e 0a046e657773 1801 320165 38ac02",
    [{
      id: 2,
      kind: "subscribe",
      request: { ...SUBSCRIBE, channel: "news", recover: true, epoch: "e", offset: 300 },
    }],
  ],
  [
    "a full subscribe",
    frame(
      "0802",
      nest(
        "2a",
        "0a0161 120174 1801 320165 38ffffffffffffff0f 420131 4801 5001 5801",
        "620166 6a020a00 7003 7801",
      ),
    ),
    [{
      id: 2,
      kind: "subscribe",
      request: {
        channel: "a",
        token: "t",
        recover: true,
        epoch: "e",
        offset: Number.MAX_SAFE_INTEGER,
        data: json("1"),
        positioned: true,
        recoverable: true,
        joinLeave: true,
        delta: "f",
        hasTagsFilter: true,
        flag: 3,
        type: 1,
      },
    }],
  ],
  [
    "a full connect",
    frame(
      "0801",
      nest("22", "0a0174 120122", nest("1a", "0a0161", "12021801"), "22016e 2a0135", "32060a016b120176"),
    ),
    [{
      id: 1,
      kind: "connect",
      request: {
        token: "t",
        data: bytes(0x22),
        subs: new Map([["a", { ...SUBSCRIBE, recover: true }]]),
        name: "n",
        version: "5",
        headers: new Map([["k", "v"]]),
      },
    }],
  ],
  [
    "subs and headers without values or keys",
    frame("0801", nest("22", "1a030a0161 3200")),
    [{
      id: 1,
      kind: "connect",
      request: { ...CONNECT, subs: new Map([["a", SUBSCRIBE]]), headers: new Map([["", ""]]) },
    }],
  ],
  [
    "several commands",
    frame("0801 32030a0161") + frame("0802 42030a0162") + frame("0803 4a030a0163") +
    frame("0804 72030a0174") + frame("0805 7a080a016412017518 02"),
    [
      { id: 1, kind: "unsubscribe", request: { channel: "a" } },
      { id: 2, kind: "presence", request: { channel: "b" } },
      { id: 3, kind: "presence_stats", request: { channel: "c" } },
      { id: 4, kind: "refresh", request: { token: "t" } },
      { id: 5, kind: "sub_refresh", request: { channel: "d", token: "u", type: 2 } },
    ],
  ],
  [
    "history since a position",
    frame("0801", nest("52", "0a0161 38ffffffffffffffffff01", nest("42", "0803120165"), "4801")),
    [{
      id: 1,
      kind: "history",
      request: { channel: "a", limit: -1, since: { offset: 3, epoch: "e" }, reverse: true },
    }],
  ],
  ["a send without id", "05 62030a0131", [{ id: 0, kind: "send", request: { data: json("1") } }]],
  ["an rpc", "09 0801 6a050a00 12016d", [{ id: 1, kind: "rpc", request: { data: undefined, method: "m" } }]],
  [
    "unknown fields of every wire type, in the command and in the request",
    frame(
      "0801 a00605 a1060000000000000000 a20601ff a5060000ffff a306a206000806a406",
      nest("42", "0a0161 a00605"),
    ),
    [{ id: 1, kind: "presence", request: { channel: "a" } }],
  ],
  ["the last of a field that comes twice", frame("0801 0802 42060a01610a0162"), [
    { id: 2, kind: "presence", request: { channel: "b" } },
  ]],
];

for (const [name, hex, expected] of FRAMES) {
  Deno.test(`PROTOBUF_CODEC reads ${name}`, () => {
    assert.deepEqual(PROTOBUF_CODEC.decode(fromHex(hex)), expected);
  });
}

const DATA: readonly [string, Uint8Array<ArrayBuffer>, Payload | undefined][] = [
  ["a JSON string", UTF8.encode('"it rains \\n🌧"'), text("it rains \n🌧")],
  ["a JSON object", UTF8.encode('{ "a": 12345678901234567890 }\n'), json('{ "a": 12345678901234567890 }\n')],
  ["a JSON number", UTF8.encode("1.10"), json("1.10")],
  ["null", UTF8.encode("null"), json("null")],
  ["plain text", UTF8.encode("it rains"), { kind: "bytes", bytes: UTF8.encode("it rains") }],
  ["a byte order mark before JSON", UTF8.encode("\ufeff1"), bytes(0xef, 0xbb, 0xbf, 0x31)],
  ["half a character in a JSON string", Uint8Array.of(0x22, 0xc3, 0x22), bytes(0x22, 0xc3, 0x22)],
  ["any bytes", Uint8Array.of(0, 255), bytes(0, 255)],
  ["no bytes", new Uint8Array(0), undefined],
];

for (const [name, data, payload] of DATA) {
  Deno.test(`PROTOBUF_CODEC reads ${name} as ${payload?.kind ?? "no data"}, which outlives the frame`, () => {
    const buffer = fromHex(frame("0801", nest("3a", "0a0161", nest("12", data.toHex()), "1801")));
    const read = PROTOBUF_CODEC.decode(buffer);
    buffer.fill(0);
    assert.deepEqual(read, [{ id: 1, kind: "publish", request: { channel: "a", data: payload, type: 1 } }]);
  });
}

const subscribe = (...fields: string[]) => frame("0801", nest("2a", "0a0161", ...fields));

const REFUSED: readonly [string, string][] = [
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
  ["an offset beyond what a double holds", subscribe("388080808080808010")],
  ["an offset of 64 bits", subscribe("38ffffffffffffffffff01")],
  ["a negative flag", subscribe("70ffffffffffffffffff01")],
  ["a type over 32 bits", subscribe("788080808008")],
  ["field number 0", frame("0001 0801 2200")],
  ["a wire type there is not", frame("0801 2200 0e")],
  ["the end of no group", frame("0801 2200 a406")],
  ["the end of another group", frame("0801 2200 a306ac06")],
  ["a group without an end", frame("0801 2200 a306")],
  ["groups nested deeply", frame("0801 2200", "a306".repeat(30_000))],
  ["overlong field numbers", "ff".repeat(200)],
];

for (const [name, hex] of REFUSED) {
  Deno.test(`PROTOBUF_CODEC refuses ${name}`, () => {
    assert.throws(() => PROTOBUF_CODEC.decode(fromHex(hex)), isShortSyntaxError);
  });
}

function isShortSyntaxError(error: unknown): boolean {
  return error instanceof SyntaxError && error.name === "SyntaxError" && error.message.length < 80;
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
const WRITTEN_INFO = "0a0175 120163 1a077b2261223a317d 22035b325d";

const PUBLICATION: Publication = {
  data: json('{"n":1}'),
  info: INFO,
  offset: 9_007_199_254_740_991,
  tags: new Map([["k", "v"], ["l", ""]]),
  delta: true,
  time: 300,
  channel: "b",
};
const WRITTEN_PUBLICATION = "22077b226e223a317d" + nest("2a", WRITTEN_INFO) + "30ffffffffffffff0f" +
  "3a060a016b120176 3a030a016c 4001 48ac02 520162";

const REPLIES: readonly [string, Reply, string][] = [
  ["a ping", { kind: "server_ping" }, "00"],
  [
    "an error",
    { id: 1, kind: "error", error: { code: 103, message: "no" } },
    "0a 0801 1206 0867 12026e6f",
  ],
  [
    "a temporary error",
    { id: 1, kind: "error", error: { code: 100, message: "", temporary: true } },
    "08 0801 1204 0864 1801",
  ],
  [
    "a connect result",
    {
      id: 1,
      kind: "connect",
      result: {
        client: "c",
        version: "1",
        expires: true,
        ttl: 60,
        data: text("d"),
        subs: new Map([["a", { recoverable: true }], ["b", {}]]),
        ping: 25,
        pong: true,
        session: "s",
        node: "n",
        time: 300,
      },
    },
    frame(
      "0801",
      nest(
        "2a",
        "0a0163 120131 1801 203c 2a03226422",
        nest("32", "0a0161", "12021801"),
        nest("32", "0a0162", "1200"),
        "3819 4001 4a0173 52016e 58ac02",
      ),
    ),
  ],
  [
    "a subscribe result",
    {
      id: 2,
      kind: "subscribe",
      result: {
        expires: true,
        ttl: 1,
        recoverable: true,
        epoch: "e",
        publications: [{ data: json("3"), offset: 3 }, { data: json("4"), offset: 4 }],
        recovered: true,
        offset: 2,
        positioned: true,
        data: json("{}"),
        wasRecovering: true,
        delta: true,
      },
    },
    frame(
      "0802",
      nest(
        "32",
        "0801 1001 1801 320165 3a05 220133 3003 3a05 220134 3004",
        "4001 4802 5001 5a027b7d 6001 6801",
      ),
    ),
  ],
  ["an unsubscribe result", { id: 3, kind: "unsubscribe", result: {} }, "04 0803 3a00"],
  ["a publish result", { id: 3, kind: "publish", result: {} }, "04 0803 4200"],
  [
    "who is present",
    { id: 4, kind: "presence", result: { presence: new Map([["c", { user: "", client: "c" }]]) } },
    frame("0804", nest("4a", nest("0a", "0a0163", nest("12", "120163")))),
  ],
  [
    "presence counts",
    { id: 5, kind: "presence_stats", result: { numClients: 300, numUsers: 1 } },
    "09 0805 5205 08ac02 1001",
  ],
  [
    "presence counts of 0",
    { id: 5, kind: "presence_stats", result: { numClients: 0, numUsers: 0 } },
    "04 0805 5200",
  ],
  [
    "a history",
    { id: 6, kind: "history", result: { publications: [PUBLICATION], epoch: "e", offset: 9 } },
    frame("0806", nest("5a", nest("0a", WRITTEN_PUBLICATION), "120165 1809")),
  ],
  ["a ping result", { id: 3, kind: "ping", result: {} }, "04 0803 6200"],
  ["an rpc result", { id: 7, kind: "rpc", result: { data: text("") } }, "08 0807 6a04 0a022222"],
  [
    "a refresh result",
    { id: 8, kind: "refresh", result: { client: "c", version: "1", expires: true, ttl: 4_294_967_295 } },
    frame("0808", nest("72", "0a0163 120131 1801 20ffffffff0f")),
  ],
  [
    "a sub_refresh result",
    { id: 9, kind: "sub_refresh", result: { expires: true, ttl: 9 } },
    "08 0809 7a04 0801 1009",
  ],
];

for (const [name, reply, hex] of REPLIES) {
  Deno.test(`PROTOBUF_CODEC writes ${name} to the byte`, () => {
    assert.equal(toHex(PROTOBUF_CODEC.encode([reply])), hex.replaceAll(" ", ""));
  });
}

function toHex(data: string | Uint8Array): string {
  assert.ok(data instanceof Uint8Array);
  return data.toHex();
}

/** Pushes and what they are between their lengths. */
const PUSHES: readonly [string, UniPush, string][] = [
  ["a ping", { kind: "server_ping" }, ""],
  [
    "a publication",
    { kind: "pub", channel: "a", content: PUBLICATION },
    "120161" + nest("22", WRITTEN_PUBLICATION),
  ],
  [
    "text",
    { kind: "pub", channel: "news", content: { data: text("é\n"), offset: 1 } },
    "12046e657773 220a 220622c3a95c6e22 3001",
  ],
  ["bytes", { kind: "pub", channel: "a", content: { data: bytes(0, 255) } }, "120161 2204 220200ff"],
  ["no bytes", { kind: "pub", channel: "a", content: { data: bytes() } }, "120161 2200"],
  [
    "a whole text among deltas",
    { kind: "pub", channel: "a", content: { data: { kind: "whole", payload: text("x") } } },
    "120161 2205 2203227822",
  ],
  [
    "whole bytes among deltas",
    { kind: "pub", channel: "a", content: { data: { kind: "whole", payload: bytes(255) } } },
    "120161 2203 2201ff",
  ],
  [
    "a delta",
    {
      kind: "pub",
      channel: "a",
      content: { data: { kind: "delta", bytes: Uint8Array.of(255) }, delta: true },
    },
    "120161 2205 2201ff 4001",
  ],
  [
    "a join",
    { kind: "join", channel: "a", content: { info: INFO } },
    "120161" + nest("2a", nest("0a", WRITTEN_INFO)),
  ],
  [
    "a leave",
    { kind: "leave", channel: "a", content: { info: { user: "", client: "c" } } },
    "120161 3205 0a03 120163",
  ],
  [
    "an unsubscribe",
    { kind: "unsubscribe", channel: "a", content: { code: 2500, reason: "r" } },
    "120161 3a06 10c413 1a0172",
  ],
  [
    "a subscribe",
    {
      kind: "subscribe",
      channel: "a",
      content: { recoverable: true, epoch: "e", offset: 1, positioned: true, data: json("1") },
    },
    "120161 4a0c 0801 220165 2801 3001 3a0131",
  ],
  ["a message", { kind: "message", content: { data: json("1") } }, "4203 0a0131"],
  [
    "a connect",
    {
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
    nest(
      "52",
      "0a0163 120131 1a0131",
      nest("22", "0a0161", "12021801"),
      "2801 303c 3819 4001 4a0173 52016e 58ac02",
    ),
  ],
  [
    "a disconnect",
    { kind: "disconnect", content: { code: 3001, reason: "r" } },
    "5a06 08b917 120172",
  ],
  ["a refresh", { kind: "refresh", content: { expires: true, ttl: 3 } }, "6204 0801 1003"],
];

for (const [name, push, hex] of PUSHES) {
  Deno.test(`PROTOBUF_CODEC pushes ${name} to the byte, bare and as a reply`, () => {
    assert.equal(toHex(PROTOBUF_CODEC.encodeUni([push])), frame(hex));
    if (push.kind === "server_ping") return;
    const reply = frame(nest("22", hex));
    assert.equal(toHex(PROTOBUF_CODEC.encode([{ kind: "push", push }])), reply);
    if (push.kind !== "pub") return;
    assert.equal(toHex(encodePublicationPush(push.channel, push.content)), reply);
    assert.equal(toHex(encodeUniPublication(push.channel, push.content)), frame(hex));
  });
}

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

/** Data as Protobuf clients have them. */
const WIRE: Wire = {
  data(payload) {
    if (payload.kind === "bytes") return payload.bytes;
    return UTF8.encode(payload.kind === "text" ? JSON.stringify(payload.text) : payload.text);
  },
  info: (text) => UTF8.encode(text),
};

Deno.test("PROTOBUF_CODEC reads what the official client writes", () => {
  const official = openOfficialProtobuf();
  fc.assert(fc.property(fc.array(commands(anyPayload), { minLength: 1, maxLength: 4 }), (expected) => {
    const data = official.encodeCommands(expected.map((command) => toWireCommand(command, WIRE)));
    // The official client may hand out a Buffer.
    assert.deepEqual(PROTOBUF_CODEC.decode(new Uint8Array(data)), expected);
  }));
});

/** What the official client read, as plain objects: its long numbers as numbers, its bytes as bytes. */
function toPlain(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(toPlain);
  if (typeof value !== "object" || value === null) return value;
  if ("toNumber" in value && typeof value.toNumber === "function") return value.toNumber();
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toPlain(item)]));
}

Deno.test("PROTOBUF_CODEC writes what the official client reads", () => {
  const official = openOfficialProtobuf();
  fc.assert(fc.property(fc.array(replies, { minLength: 1, maxLength: 4 }), (sent) => {
    const data = PROTOBUF_CODEC.encode(sent);
    assert.ok(data instanceof Uint8Array);
    const read = official.decodeReplies(data).map((reply) => dropZeros(toPlain(reply)));
    assert.deepEqual(read, sent.map((reply) => dropZeros(toWireReply(reply, WIRE))));
  }));
});

Deno.test("PROTOBUF_CODEC writes bare pushes as it writes them in replies", () => {
  const official = openOfficialProtobuf();
  fc.assert(fc.property(pushes, (push) => {
    const bare = toHex(PROTOBUF_CODEC.encodeUni([push]));
    // A reply is what holds the push as its field 4, with the same length before it.
    const reply = fromHex(frame("22", bare));
    assert.equal(toHex(PROTOBUF_CODEC.encode([{ kind: "push", push }])), reply.toHex());
    const read = official.decodeReplies(reply).map((value) => dropZeros(toPlain(value)));
    assert.deepEqual(read, [dropZeros({ push: toWirePush(push, WIRE) })]);
  }));
});

/** A frame either has commands, or is refused with a SyntaxError. */
function decodeOrRefuse(data: Uint8Array): void {
  for (
    const decode of [PROTOBUF_CODEC.decode, PROTOBUF_CODEC.decodeUniRequest, PROTOBUF_CODEC.decodeEmulation]
  ) {
    try {
      assert.ok(decode(data));
    } catch (error) {
      assert.ok(isShortSyntaxError(error), String(error));
    }
  }
}

Deno.test("PROTOBUF_CODEC refuses any other bytes with a SyntaxError and nothing else", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), decodeOrRefuse), { numRuns: 1_000 });
  // Behind a right length, the bytes reach the fields.
  const framed = fc.uint8Array({ maxLength: 120 }).map((content) =>
    Uint8Array.of(content.length, ...content)
  );
  fc.assert(fc.property(framed, decodeOrRefuse), { numRuns: 1_000 });
  const repeated = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 4 }), fc.nat({ max: MAX_FRAME_BYTES }));
  fc.assert(
    fc.property(repeated, ([unit, length]) => {
      decodeOrRefuse(Uint8Array.from({ length }, (_, i) => unit[i % unit.length] ?? 0));
    }),
    { numRuns: 50 },
  );
});

Deno.test("PROTOBUF_CODEC refuses good frames gone bad with a SyntaxError and nothing else", () => {
  const frames = fc.constantFrom(...FRAMES.map(([, hex]) => fromHex(hex)));
  const change = fc.record({
    good: frames,
    at: fc.nat({ max: 60 }),
    length: fc.nat({ max: 3 }),
    bytes: fc.uint8Array(),
  });
  fc.assert(
    fc.property(change, ({ good, at, length, bytes }) => {
      decodeOrRefuse(Uint8Array.of(...good.subarray(0, at), ...bytes, ...good.subarray(at + length)));
    }),
    { numRuns: 1_000 },
  );
  const flip = fc.record({ good: frames, at: fc.nat({ max: 60 }), byte: fc.nat({ max: 255 }) });
  fc.assert(
    fc.property(flip, ({ good, at, byte }) => {
      const bad = good.slice();
      bad[at % bad.length] = byte;
      decodeOrRefuse(bad);
    }),
    { numRuns: 1_000 },
  );
});
