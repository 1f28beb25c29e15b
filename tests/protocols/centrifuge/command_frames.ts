/** A table of commands of the Centrifuge protocol, with their exact JSON and Protobuf. */
import type { Command, ConnectRequest, SubscribeRequest } from "../../../lib/protocols/centrifuge/codec.ts";
import { frame, json, nest, type Row, text, utf8 } from "./codec_bytes.ts";

export const CONNECT: ConnectRequest = {
  token: "",
  data: undefined,
  subs: new Map(),
  name: "",
  version: "",
  headers: new Map(),
};

export const SUBSCRIBE: SubscribeRequest = {
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
  tagsFilter: undefined,
  flag: 0,
  type: 0,
  phase: 0,
  cursor: "",
  limit: 0,
};

export const COMMANDS: readonly Row<readonly Command[]>[] = [
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
        tagsFilter: {
          op: "and",
          key: "",
          cmp: "",
          val: "",
          vals: [],
          nodes: [{ op: "", key: "k", cmp: "in", val: "", vals: ["a", "b"], nodes: [] }],
        },
        flag: 3,
        type: 1,
        phase: 2,
        cursor: "c",
        limit: 7,
      },
    }],
    json:
      '{"id":2,"subscribe":{"channel":"news","token":"t","recover":true,"epoch":"e","offset":9007199254740991,' +
      '"data":"d","positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil","tf":{"op":"and","nodes":[{"key":"k","cmp":"in","vals":["a","b"]}]},' +
      '"flag":3,"type":1,"phase":2,"cursor":"c","limit":7}}',
    protobuf: frame(
      "0802",
      nest(
        "2a",
        "0a046e657773 120174 1801 320165 38ffffffffffffff0f 4203226422 4801 5001 5801",
        utf8("62", "fossil"),
        "6a14 0a03616e64 320d 12016b1a02696e2a01612a0162 7003 7801 800102 8a010163 900107",
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
    value: [{
      id: 1,
      kind: "publish",
      request: { channel: "a", data: json("null"), type: 0, key: "", removed: false },
    }],
    json: '{"id":1,"x":[],"connect":null,"publish":{"channel":"a","data":null,"y":{},"type":null}}',
    protobuf: frame(
      "0801 a00605 a1060000000000000000 a20601ff a5060000ffff a306a206000806a406",
      nest("3a", "0a0161 12046e756c6c a00605"),
    ),
  },
];
