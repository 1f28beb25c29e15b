/** The Centrifuge protocol as JSON: exact lines, hostile lines, and agreement with the official client's codec. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Payload } from "../../../lib/core/message.ts";
import {
  type Command,
  type ConnectRequest,
  MAX_FRAME_BYTES,
  type Publication,
  type Reply,
  type SubscribeRequest,
  type UniPush,
} from "../../../lib/protocols/centrifuge/codec.ts";
import {
  encodePublicationPush,
  encodeUniPublication,
  JSON_CODEC,
} from "../../../lib/protocols/centrifuge/json.ts";
import {
  commands,
  dropZeros,
  openOfficialJson,
  pushes,
  replies,
  spokenPayload,
  toWireCommand,
  toWirePush,
  toWireReply,
  type Wire,
} from "./samples.ts";

const UTF8 = new TextEncoder();

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

const text = (value: string): Payload => ({ kind: "text", text: value });
const json = (value: string): Payload => ({ kind: "json", text: value });

const FRAMES: readonly [string, string, readonly Command[]][] = [
  ["a pong", "{}", [{ id: 0, kind: "pong" }]],
  ["a line end after the last command", "{}\n", [{ id: 0, kind: "pong" }]],
  ["a bare connect", '{"id":1,"connect":{}}', [{ id: 1, kind: "connect", request: CONNECT }]],
  [
    "a full connect",
    '{"connect":{"token":"t","data":{"a":1},"subs":{"news":{"recover":true,"offset":7,"epoch":"e"},' +
    '"__proto__":{}},"name":"js","version":"5","headers":{"k":"v"}},"id":4294967295}',
    [{
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
  ],
  [
    "a full subscribe",
    '{"id":2,"subscribe":{"channel":"news","token":"t","recover":true,"epoch":"e","offset":9007199254740991,' +
    '"data":"d","positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil","tf":{"op":"and"},' +
    '"flag":3,"type":1}}',
    [{
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
  ],
  [
    "several commands",
    '{"id":1,"unsubscribe":{"channel":"a"}}\n{"id":2,"presence":{"channel":"b"}}\n' +
    '{"id":3,"presence_stats":{"channel":"c"}}\n{"id":4,"ping":{}}\n{"id":5,"refresh":{"token":"t"}}\n' +
    '{"id":6,"sub_refresh":{"channel":"d","token":"u","type":2}}',
    [
      { id: 1, kind: "unsubscribe", request: { channel: "a" } },
      { id: 2, kind: "presence", request: { channel: "b" } },
      { id: 3, kind: "presence_stats", request: { channel: "c" } },
      { id: 4, kind: "ping", request: {} },
      { id: 5, kind: "refresh", request: { token: "t" } },
      { id: 6, kind: "sub_refresh", request: { channel: "d", token: "u", type: 2 } },
    ],
  ],
  [
    "history since a position",
    '{"id":1,"history":{"channel":"a","limit":-1,"since":{"offset":3,"epoch":"e"},"reverse":true}}',
    [{
      id: 1,
      kind: "history",
      request: { channel: "a", limit: -1, since: { offset: 3, epoch: "e" }, reverse: true },
    }],
  ],
  [
    "sends without and with an id",
    '{"send":{"data":[]}}\n{"id":9,"send":{}}',
    [
      { id: 0, kind: "send", request: { data: json("[]") } },
      { id: 9, kind: "send", request: { data: undefined } },
    ],
  ],
  [
    "an rpc",
    '{"id":1,"rpc":{"data":false,"method":"m"}}',
    [{ id: 1, kind: "rpc", request: { data: json("false"), method: "m" } }],
  ],
  [
    "unknown fields, and null for those left out",
    '{"id":1,"x":[],"connect":null,"publish":{"channel":"a","data":null,"y":{},"type":null}}',
    [{ id: 1, kind: "publish", request: { channel: "a", data: json("null"), type: 0 } }],
  ],
];

for (const [name, frame, expected] of FRAMES) {
  Deno.test(`JSON_CODEC reads ${name}, as text and as bytes`, () => {
    assert.deepEqual(JSON_CODEC.decode(frame), expected);
    assert.deepEqual(JSON_CODEC.decode(UTF8.encode(frame)), expected);
  });
}

const DATA: readonly [string, Payload][] = [
  ['"it rains"', text("it rains")],
  ['"🌧 \\"\\n"', text('🌧 "\n')],
  ['"\\ud83c\\udf27"', json('"\\ud83c\\udf27"')],
  ['"a\\uD800"', text("a\ud800")],
  ['""', text("")],
  ["12345678901234567890", json("12345678901234567890")],
  ['{"id": 9007199254740993, "price": 1.10}', json('{"id": 9007199254740993, "price": 1.10}')],
  ["[1e400, -0, 0.0, 1E2, 5]", json("[1e400, -0, 0.0, 1E2, 5]")],
  ['{"\\u0061":"1.5\\n", "rawJSON":"2"}', json('{"\\u0061":"1.5\\n", "rawJSON":"2"}')],
  ['{"base64":"AP8="}', json('{"base64":"AP8="}')],
  ["[-0]", json("[-0]")],
  ["\t[ ]\r", json("[ ]")],
];

for (const [written, payload] of DATA) {
  Deno.test(`JSON_CODEC reads ${JSON.stringify(written)} as ${payload.kind}, to the digit`, () => {
    const frame = `{"id":1,"publish":{"channel":"a","data":${written}}}`;
    assert.deepEqual(JSON_CODEC.decode(frame), [
      { id: 1, kind: "publish", request: { channel: "a", data: payload, type: 0 } },
    ]);
  });
}

const publish = (fields: string) => `{"id":1,"publish":{"channel":"a",${fields}}}`;
const subscribe = (fields: string) => `{"id":1,"subscribe":{"channel":"a",${fields}}}`;

const REFUSED: readonly [string, string][] = [
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

for (const [name, frame] of REFUSED) {
  Deno.test(`JSON_CODEC refuses ${name}`, () => {
    assert.throws(() => JSON_CODEC.decode(frame), isShortSyntaxError);
  });
}

function isShortSyntaxError(error: unknown): boolean {
  return error instanceof SyntaxError && error.name === "SyntaxError" && error.message.length < 80;
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

const PUBLICATION: Publication = {
  data: json('{"n":12345678901234567890}'),
  info: { user: "u", client: "c", connInfo: '{"a":1}', chanInfo: "[2]" },
  offset: 9_007_199_254_740_991,
  tags: new Map([["k", "v"], ["l", ""]]),
  delta: true,
  time: 1_700_000_000_000,
  channel: "a/b",
};
const WRITTEN_PUBLICATION = '{"data":{"n":12345678901234567890},' +
  '"info":{"user":"u","client":"c","conn_info":{"a":1},"chan_info":[2]},"offset":9007199254740991,' +
  '"tags":{"k":"v","l":""},"delta":true,"time":1700000000000,"channel":"a/b"}';

const REPLIES: readonly [string, Reply, string][] = [
  ["a ping", { kind: "server_ping" }, "{}"],
  [
    "an error",
    { id: 1, kind: "error", error: { code: 103, message: "no" } },
    '{"id":1,"error":{"code":103,"message":"no"}}',
  ],
  [
    "a temporary error",
    { id: 1, kind: "error", error: { code: 100, message: 'a\n"', temporary: true } },
    '{"id":1,"error":{"code":100,"message":"a\\n\\"","temporary":true}}',
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
        subs: new Map([['"', { recoverable: true, epoch: "e", positioned: true }]]),
        ping: 25,
        pong: true,
        session: "s",
        node: "n",
        time: 5,
      },
    },
    '{"id":1,"connect":{"client":"c","version":"1","expires":true,"ttl":60,"data":"d",' +
    '"subs":{"\\"":{"recoverable":true,"epoch":"e","positioned":true}},"ping":25,"pong":true,"session":"s",' +
    '"node":"n","time":5}}',
  ],
  [
    "an almost empty connect result",
    { id: 1, kind: "connect", result: { client: "c", ttl: 0, pong: false } },
    '{"id":1,"connect":{"client":"c"}}',
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
        publications: [{ data: text("a"), offset: 3 }, { data: json("4"), offset: 4 }],
        recovered: true,
        offset: 2,
        positioned: true,
        data: json("{}"),
        wasRecovering: true,
        delta: true,
      },
    },
    '{"id":2,"subscribe":{"expires":true,"ttl":1,"recoverable":true,"epoch":"e",' +
    '"publications":[{"data":"a","offset":3},{"data":4,"offset":4}],"recovered":true,"offset":2,' +
    '"positioned":true,"data":{},"was_recovering":true,"delta":true}}',
  ],
  ["an empty subscribe result", {
    id: 2,
    kind: "subscribe",
    result: { publications: [], offset: 0, epoch: "" },
  }, '{"id":2,"subscribe":{}}'],
  ["an unsubscribe result", { id: 3, kind: "unsubscribe", result: {} }, '{"id":3,"unsubscribe":{}}'],
  ["a publish result", { id: 3, kind: "publish", result: {} }, '{"id":3,"publish":{}}'],
  ["a ping result", { id: 3, kind: "ping", result: {} }, '{"id":3,"ping":{}}'],
  [
    "who is present",
    { id: 4, kind: "presence", result: { presence: new Map([["c", { user: "", client: "c" }]]) } },
    '{"id":4,"presence":{"presence":{"c":{"user":"","client":"c"}}}}',
  ],
  [
    "nobody present",
    { id: 4, kind: "presence", result: { presence: new Map() } },
    '{"id":4,"presence":{"presence":{}}}',
  ],
  [
    "presence counts of 0",
    { id: 5, kind: "presence_stats", result: { numClients: 0, numUsers: 0 } },
    '{"id":5,"presence_stats":{"num_clients":0,"num_users":0}}',
  ],
  [
    "presence counts",
    { id: 5, kind: "presence_stats", result: { numClients: 2, numUsers: 1 } },
    '{"id":5,"presence_stats":{"num_clients":2,"num_users":1}}',
  ],
  [
    "an empty history",
    { id: 6, kind: "history", result: { publications: [], epoch: "", offset: 0 } },
    '{"id":6,"history":{"publications":[],"epoch":"","offset":0}}',
  ],
  [
    "a history",
    { id: 6, kind: "history", result: { publications: [PUBLICATION], epoch: "e", offset: 9 } },
    `{"id":6,"history":{"publications":[${WRITTEN_PUBLICATION}],"epoch":"e","offset":9}}`,
  ],
  ["an rpc result", { id: 7, kind: "rpc", result: { data: json("null") } }, '{"id":7,"rpc":{"data":null}}'],
  ["an rpc result without data", { id: 7, kind: "rpc", result: {} }, '{"id":7,"rpc":{}}'],
  [
    "a refresh result",
    { id: 8, kind: "refresh", result: { client: "c", version: "1", expires: true, ttl: 9 } },
    '{"id":8,"refresh":{"client":"c","version":"1","expires":true,"ttl":9}}',
  ],
  [
    "a sub_refresh result",
    { id: 9, kind: "sub_refresh", result: { expires: true, ttl: 9 } },
    '{"id":9,"sub_refresh":{"expires":true,"ttl":9}}',
  ],
];

for (const [name, reply, expected] of REPLIES) {
  Deno.test(`JSON_CODEC writes ${name} to the byte`, () => {
    assert.equal(JSON_CODEC.encode([reply]), expected);
  });
}

const bytes: Payload = { kind: "bytes", bytes: Uint8Array.of(0, 255) };

const PUSHES: readonly [string, UniPush, string][] = [
  ["a ping", { kind: "server_ping" }, "{}"],
  [
    "a publication",
    { kind: "pub", channel: 'a"', content: PUBLICATION },
    `{"channel":"a\\"","pub":${WRITTEN_PUBLICATION}}`,
  ],
  [
    "text",
    { kind: "pub", channel: "a", content: { data: text('"\n') } },
    '{"channel":"a","pub":{"data":"\\"\\n"}}',
  ],
  [
    "bytes",
    { kind: "pub", channel: "a", content: { data: bytes } },
    '{"channel":"a","pub":{"data":{"base64":"AP8="}}}',
  ],
  [
    "a whole text among deltas",
    { kind: "pub", channel: "a", content: { data: { kind: "whole", payload: text("x") } } },
    '{"channel":"a","pub":{"data":"\\"x\\""}}',
  ],
  [
    "a whole object among deltas",
    { kind: "pub", channel: "a", content: { data: { kind: "whole", payload: json('{"a":1}') } } },
    '{"channel":"a","pub":{"data":"{\\"a\\":1}"}}',
  ],
  [
    "a delta",
    {
      kind: "pub",
      channel: "a",
      content: { data: { kind: "delta", bytes: UTF8.encode("5\né") }, delta: true },
    },
    '{"channel":"a","pub":{"data":"5\\né","delta":true}}',
  ],
  [
    "a join",
    { kind: "join", channel: "a", content: { info: { user: "u", client: "c" } } },
    '{"channel":"a","join":{"info":{"user":"u","client":"c"}}}',
  ],
  [
    "a leave",
    { kind: "leave", channel: "a", content: { info: { user: "", client: "", chanInfo: "1" } } },
    '{"channel":"a","leave":{"info":{"user":"","client":"","chan_info":1}}}',
  ],
  [
    "an unsubscribe",
    { kind: "unsubscribe", channel: "a", content: { code: 2500, reason: "gap" } },
    '{"channel":"a","unsubscribe":{"code":2500,"reason":"gap"}}',
  ],
  [
    "a subscribe",
    {
      kind: "subscribe",
      channel: "a",
      content: { recoverable: true, epoch: "e", offset: 1, positioned: true, data: text("") },
    },
    '{"channel":"a","subscribe":{"recoverable":true,"epoch":"e","offset":1,"positioned":true,"data":""}}',
  ],
  ["a message", { kind: "message", content: { data: json("1") } }, '{"message":{"data":1}}'],
  [
    "a connect",
    { kind: "connect", content: { client: "c", ping: 25 } },
    '{"connect":{"client":"c","ping":25}}',
  ],
  [
    "a disconnect",
    { kind: "disconnect", content: { code: 3001, reason: "shutdown" } },
    '{"disconnect":{"code":3001,"reason":"shutdown"}}',
  ],
  [
    "a refresh",
    { kind: "refresh", content: { expires: true, ttl: 3 } },
    '{"refresh":{"expires":true,"ttl":3}}',
  ],
];

for (const [name, push, expected] of PUSHES) {
  Deno.test(`JSON_CODEC pushes ${name} to the byte, bare and as a reply`, () => {
    assert.equal(JSON_CODEC.encodeUni([push]), expected);
    if (push.kind === "server_ping") return;
    assert.equal(JSON_CODEC.encode([{ kind: "push", push }]), `{"push":${expected}}`);
    if (push.kind !== "pub") return;
    assert.equal(encodePublicationPush(push.channel, push.content), `{"push":${expected}}`);
    assert.equal(encodeUniPublication(push.channel, push.content), expected);
  });
}

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

/** Data as JSON clients have them. */
const WIRE: Wire = {
  data(payload) {
    if (payload.kind === "text") return payload.text;
    return payload.kind === "json" ? JSON.parse(payload.text) : { base64: payload.bytes.toBase64() };
  },
  info: (text) => JSON.parse(text),
};

Deno.test("JSON_CODEC reads what the official client writes", () => {
  const official = openOfficialJson();
  // The digits that JavaScript cannot write are in the table of data above.
  const written = spokenPayload.filter((payload) =>
    payload.kind !== "json" || JSON.stringify(JSON.parse(payload.text)) === payload.text
  );
  fc.assert(fc.property(fc.array(commands(written), { minLength: 1, maxLength: 4 }), (expected) => {
    const frame = official.encodeCommands(expected.map((command) => toWireCommand(command, WIRE)));
    assert.deepEqual(JSON_CODEC.decode(frame), expected);
  }));
});

Deno.test("JSON_CODEC writes what the official client reads, each reply on one line", () => {
  const official = openOfficialJson();
  fc.assert(fc.property(fc.array(replies, { minLength: 1, maxLength: 4 }), (sent) => {
    const frame = String(JSON_CODEC.encode(sent));
    assert.equal(frame.split("\n").length, sent.length);
    assert.doesNotMatch(frame, /\r/);
    const expected = sent.map((reply) => dropZeros(toWireReply(reply, WIRE)));
    assert.deepEqual(official.decodeReplies(frame).map(dropZeros), expected);
  }));
});

Deno.test("JSON_CODEC writes bare pushes as it writes them in replies", () => {
  fc.assert(fc.property(pushes, (push) => {
    const bare = String(JSON_CODEC.encodeUni([push]));
    assert.equal(JSON_CODEC.encode([{ kind: "push", push }]), `{"push":${bare}}`);
    assert.deepEqual(dropZeros(JSON.parse(bare)), dropZeros(toWirePush(push, WIRE)));
  }));
});

/** A frame either has commands, or is refused with a SyntaxError. */
function decodeOrRefuse(frame: string | Uint8Array): void {
  for (const decode of [JSON_CODEC.decode, JSON_CODEC.decodeUniRequest, JSON_CODEC.decodeEmulation]) {
    try {
      assert.ok(decode(frame));
    } catch (error) {
      assert.ok(isShortSyntaxError(error), String(error));
    }
  }
}

Deno.test("JSON_CODEC refuses any other text and bytes with a SyntaxError and nothing else", () => {
  const any = fc.oneof(fc.string({ unit: "binary" }), fc.json(), fc.uint8Array({ maxLength: 100 }));
  fc.assert(fc.property(any, decodeOrRefuse), { numRuns: 500 });
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
  fc.assert(fc.property(likely, (command) => decodeOrRefuse(JSON.stringify(command))), { numRuns: 1_000 });
});

Deno.test("JSON_CODEC refuses good frames gone bad with a SyntaxError and nothing else", () => {
  const frames = fc.constantFrom(...FRAMES.map(([, frame]) => frame));
  const cut = fc.record({
    frame: frames,
    at: fc.nat({ max: 300 }),
    length: fc.nat({ max: 5 }),
    text: fc.string(),
  });
  fc.assert(
    fc.property(cut, ({ frame, at, length, text }) => {
      decodeOrRefuse(frame.slice(0, at) + text + frame.slice(at + length));
    }),
    { numRuns: 1_000 },
  );
});
