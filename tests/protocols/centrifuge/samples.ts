/** Commands and replies of every kind for the tests of both Centrifuge codecs, and the official client's own codecs. */
import { Centrifuge } from "centrifuge";
import { Centrifuge as ProtobufCentrifuge } from "centrifuge/build/protobuf";
import fc from "fast-check";
import { type FilterNode, MAX_FILTER_DEPTH } from "../../../lib/core/tag_filter.ts";
import type { Payload } from "../../../lib/core/message.ts";
import type {
  ClientInfo,
  Command,
  ConnectRequest,
  ConnectResult,
  Publication,
  Push,
  Reply,
  SubscribeRequest,
  SubscribeResult,
} from "../../../lib/protocols/centrifuge/codec.ts";

/** How the official client writes commands and reads replies. */
export interface OfficialCodec<Data> {
  encodeCommands(commands: readonly unknown[]): Data;
  decodeReplies(data: Data): unknown[];
  encodeEmulationRequest?(request: unknown): Data;
}

/** The JSON codec inside the official client, which never connects. */
export function openOfficialJson(): OfficialCodec<string> {
  return (new Centrifuge("ws://127.0.0.1/") as unknown as { _codec: OfficialCodec<string> })._codec;
}

/** The Protobuf codec inside the official client, which never connects. */
export function openOfficialProtobuf(): OfficialCodec<Uint8Array> {
  return (new ProtobufCentrifuge("ws://127.0.0.1/") as unknown as { _codec: OfficialCodec<Uint8Array> })
    ._codec;
}

/** How one of the two codecs carries what is no text, number, list or map. */
export interface Wire {
  data(payload: Payload): unknown;
  /** JSON as its text. */
  info(json: string): unknown;
}

/** The command of ours as the official client would have it. */
export function toWireCommand(command: Command, wire: Wire): unknown {
  if (command.kind === "pong") return {};
  const { id, kind, request } = command;
  return { ...(id === 0 ? {} : { id }), [kind]: toWire(request, wire) };
}

/** What the official client shall read from a reply of ours. */
export function toWireReply(reply: Reply, wire: Wire): unknown {
  switch (reply.kind) {
    case "server_ping":
      return {};
    case "push":
      return { push: toWirePush(reply.push, wire) };
    case "error":
      return { id: reply.id, error: toWire(reply.error, wire) };
    default:
      return { id: reply.id, [reply.kind]: toWire(reply.result, wire) };
  }
}

export function toWirePush(push: Push, wire: Wire): unknown {
  const channel = "channel" in push ? { channel: push.channel } : {};
  return { ...channel, [push.kind]: toWire(push.content, wire) };
}

/** A value of ours with the protocol's names. */
function toWire(value: unknown, wire: Wire): unknown {
  if (Array.isArray(value)) return value.map((item) => toWire(item, wire));
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([key, item]) => [key, toWire(item, wire)]));
  }
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([_key, item]) => item !== undefined).map(([key, item]) => {
    if (key === "data") return ["data", wire.data(item)];
    if (key === "tagsFilter") return ["tf", toWire(item, wire)];
    const name = key.replaceAll(/[A-Z]/g, (letter) => "_" + letter.toLowerCase());
    return [name, name.endsWith("_info") ? wire.info(item) : toWire(item, wire)];
  });
  return Object.fromEntries(entries);
}

/** Fields by the name of which an empty object means the same as none. */
const MAPS: ReadonlySet<string> = new Set(["subs", "tags", "presence"]);

/** Without the fields that are 0, false or empty, which mean the same as those that are not there. */
export function dropZeros(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropZeros);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  const entries = Object.entries(value).flatMap(([key, item]) => {
    if (key === "data" || key.endsWith("_info")) return [[key, item]];
    const kept = dropZeros(item);
    const isZero = !kept || (Array.isArray(kept) && kept.length === 0) ||
      (MAPS.has(key) && Object.keys(kept).length === 0);
    return isZero ? [] : [[key, kept]];
  });
  return Object.fromEntries(entries);
}

/** Objects as our code makes them. */
function record<T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const text = fc.string({ unit: "binary", maxLength: 20 });
const channel = fc.string({ unit: "binary", minLength: 1, maxLength: 20 });
const count = fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 0xffff_ffff }));
const offset = fc.oneof(count, fc.maxSafeNat());
const type = fc.oneof(fc.constant(0), fc.integer());
const id = fc.integer({ min: 1, max: 0xffff_ffff });
const jsonText = fc.oneof(
  fc.json().map((json) => JSON.stringify(JSON.parse(json))),
  fc.constantFrom("12345678901234567890", '{"id":9007199254740993,"price":1.10}', "[1e400,-0,0.0]"),
);

/** Text and JSON: what JSON clients can send. */
export const spokenPayload: fc.Arbitrary<Payload> = fc.oneof(
  text.map((value): Payload => ({ kind: "text", text: value })),
  jsonText.filter((json) => !json.startsWith('"')).map((json): Payload => ({ kind: "json", text: json })),
);

/** Bytes that are no UTF-8, besides. */
export const anyPayload: fc.Arbitrary<Payload> = fc.oneof(
  spokenPayload,
  fc.uint8Array({ maxLength: 20 }).map((bytes): Payload => ({
    kind: "bytes",
    bytes: Uint8Array.of(0xff, ...bytes),
  })),
);

/** Filters with a few levels. */
function filters(): fc.Arbitrary<FilterNode> {
  const { node } = fc.letrec<{ node: FilterNode }>((tie) => ({
    node: record<FilterNode>(
      {
        op: fc.constantFrom("", "and", "or", "not"),
        key: text,
        cmp: fc.constantFrom("", "eq", "in"),
        val: text,
        vals: fc.array(text, { maxLength: 3 }),
        nodes: fc.oneof({ maxDepth: 3 }, fc.constant([]), fc.array(tie("node"), { maxLength: 2 })),
      } as { [K in keyof FilterNode]: fc.Arbitrary<FilterNode[K]> },
    ),
  }));
  return node.filter((filter) => depthOf(filter) <= MAX_FILTER_DEPTH);
}

function depthOf({ nodes = [] }: FilterNode): number {
  return 1 + Math.max(0, ...nodes.map(depthOf));
}

/** Commands of every kind, with data of a kind. */
export function commands(payload: fc.Arbitrary<Payload>): fc.Arbitrary<Command> {
  const data = fc.option(payload, { nil: undefined });
  const subscription = {
    token: text,
    recover: fc.boolean(),
    epoch: text,
    offset,
    data,
    positioned: fc.boolean(),
    recoverable: fc.boolean(),
    joinLeave: fc.boolean(),
    delta: text,
    tagsFilter: fc.option(filters(), { nil: undefined }),
    flag: fc.nat({ max: 7 }),
    type,
    phase: fc.integer({ min: 0, max: 2 }),
    cursor: text,
    limit: fc.nat({ max: 1_000 }),
  };
  const subscribe: fc.Arbitrary<SubscribeRequest> = record({ channel, ...subscription });
  const connect: fc.Arbitrary<ConnectRequest> = record({
    token: text,
    data,
    subs: maps(record({ channel: fc.constant(""), ...subscription })),
    name: text,
    version: text,
    headers: maps(text),
  });
  const position = record({ offset, epoch: text });
  const since = fc.option(position, { nil: undefined });
  const history = record({ channel, limit: fc.integer(), since, reverse: fc.boolean() });
  const onChannel = record({ channel });
  return fc.oneof(
    fc.constant<Command>({ id: 0, kind: "pong" }),
    command("connect", connect),
    command("subscribe", subscribe),
    command("unsubscribe", onChannel),
    command("publish", record({ channel, data, type, key: text, removed: fc.boolean() })),
    command("presence", onChannel),
    command("presence_stats", onChannel),
    command("history", history),
    command("ping", fc.constant({})),
    record({ id: fc.nat(), kind: fc.constant("send" as const), request: record({ data }) }),
    command("rpc", record({ data, method: text })),
    command("refresh", record({ token: text })),
    command("sub_refresh", record({ channel, token: text, type })),
  ) as fc.Arbitrary<Command>;
}

function command(kind: Command["kind"], request: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return record({ id, kind: fc.constant(kind), request });
}

function maps<T>(values: fc.Arbitrary<T>): fc.Arbitrary<Map<string, T>> {
  // An object cannot hold this key as others hold it: the official client would lose it before it is sent.
  const key = text.filter((name) => name !== "__proto__");
  return fc.array(fc.tuple(key, values), { maxLength: 3 }).map((entries) => new Map(entries));
}

const data = fc.option(anyPayload, { nil: undefined });
const flag = fc.option(fc.boolean(), { nil: undefined });
const word = fc.option(text, { nil: undefined });
const number = fc.option(offset, { nil: undefined });
const seconds = fc.option(count, { nil: undefined });

const info: fc.Arbitrary<ClientInfo> = record({
  user: text,
  client: text,
  connInfo: fc.option(jsonText, { nil: undefined }),
  chanInfo: fc.option(jsonText, { nil: undefined }),
});

const publication: fc.Arbitrary<Publication> = record({
  data: anyPayload,
  info: fc.option(info, { nil: undefined }),
  offset: number,
  tags: fc.option(maps(text), { nil: undefined }),
  delta: flag,
  time: number,
  channel: word,
  key: text,
  removed: fc.boolean(),
});

const subscribeResult: fc.Arbitrary<SubscribeResult> = record({
  expires: flag,
  ttl: seconds,
  recoverable: flag,
  epoch: word,
  publications: fc.option(fc.array(publication, { maxLength: 3 }), { nil: undefined }),
  recovered: flag,
  offset: number,
  positioned: flag,
  data,
  wasRecovering: flag,
  delta: flag,
});

const connectResult: fc.Arbitrary<ConnectResult> = record({
  client: text,
  version: word,
  expires: flag,
  ttl: seconds,
  data,
  subs: fc.option(maps(subscribeResult), { nil: undefined }),
  ping: seconds,
  pong: flag,
  session: word,
  node: word,
  time: number,
});

const refreshResult = record({ client: word, version: word, expires: flag, ttl: seconds });
const expiry = record({ expires: flag, ttl: seconds });
const end = record({ code: count, reason: text });

const CHANNEL_PUSHES = {
  pub: publication,
  join: record({ info }),
  leave: record({ info }),
  unsubscribe: end,
  subscribe: record({ recoverable: flag, epoch: word, offset: number, positioned: flag, data }),
};
const CONNECTION_PUSHES = {
  message: record({ data: anyPayload }),
  connect: connectResult,
  disconnect: end,
  refresh: expiry,
};
const RESULTS = {
  connect: connectResult,
  subscribe: subscribeResult,
  unsubscribe: fc.constant({}),
  publish: fc.constant({}),
  presence: record({ presence: maps(info) }),
  presence_stats: record({ numClients: count, numUsers: count }),
  history: record({ publications: fc.array(publication, { maxLength: 3 }), epoch: text, offset }),
  ping: fc.constant({}),
  rpc: record({ data }),
  refresh: refreshResult,
  sub_refresh: expiry,
};

/** Pushes of every kind. */
export const pushes = fc.oneof(
  ...Object.entries(CHANNEL_PUSHES).map(([kind, content]) =>
    record({ kind: fc.constant(kind), channel, content: content as fc.Arbitrary<unknown> })
  ),
  ...Object.entries(CONNECTION_PUSHES).map(([kind, content]) =>
    record({ kind: fc.constant(kind), content: content as fc.Arbitrary<unknown> })
  ),
) as fc.Arbitrary<Push>;

const replyError = record({ code: count, message: text, temporary: flag });

/** Replies of every kind. */
export const replies = fc.oneof(
  ...Object.entries(RESULTS).map(([kind, result]) =>
    record({ id, kind: fc.constant(kind), result: result as fc.Arbitrary<unknown> })
  ),
  record({ id, kind: fc.constant("error"), error: replyError }),
  record({ kind: fc.constant("push"), push: pushes }),
  fc.constant({ kind: "server_ping" }),
) as fc.Arbitrary<Reply>;
