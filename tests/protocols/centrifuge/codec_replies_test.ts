/** Replies and pushes of the Centrifuge protocol: a table of them with their exact JSON and Protobuf, and whole frames. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Publication, Reply, UniPush } from "../../../lib/protocols/centrifuge/codec.ts";
import * as jsonCoding from "../../../lib/protocols/centrifuge/json.ts";
import * as protobufCoding from "../../../lib/protocols/centrifuge/protobuf.ts";
import { bytes, frame, json, nest, type Row, text, toHex, UTF8, utf8 } from "./codec_bytes.ts";
import { replies } from "./samples.ts";

const { JSON_CODEC } = jsonCoding;
const { PROTOBUF_CODEC } = protobufCoding;

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

Deno.test("PROTOBUF_CODEC puts several replies and pushes into one frame", () => {
  const publish: Reply = { id: 1, kind: "publish", result: {} };
  assert.equal(
    toHex(PROTOBUF_CODEC.encode([publish, { kind: "server_ping" }, publish])),
    "0408014200000408014200",
  );
  assert.equal(toHex(PROTOBUF_CODEC.encodeUni([{ kind: "server_ping" }, { kind: "server_ping" }])), "0000");
});

Deno.test("JSON_CODEC writes each reply on one line", () => {
  fc.assert(fc.property(fc.array(replies, { minLength: 1, maxLength: 4 }), (sent) => {
    const lines = String(JSON_CODEC.encode(sent));
    assert.equal(lines.split("\n").length, sent.length);
    assert.doesNotMatch(lines, /\r/);
  }));
});
