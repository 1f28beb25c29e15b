/**
 * The fields of the Centrifuge client protocol's messages: names, numbers and types, told once for the JSON and the
 * Protobuf codec.
 */
import type { Payload } from "../../core/message.ts";
import { type FilterNode, MAX_FILTER_DEPTH } from "../../core/tag_filter.ts";
import type {
  ChannelPushes,
  ChannelRequest,
  ClientInfo,
  ConnectionPushes,
  ConnectRequest,
  ConnectResult,
  DeltaData,
  EmulationRequest,
  Nothing,
  Publication,
  ReplyError,
  Requests,
  Results,
  StreamPosition,
  SubscribeRequest,
  SubscribeResult,
} from "./codec.ts";

const MAX_UINT32 = 0xffff_ffff;
const MAX_INT32 = 0x7fff_ffff;

export type FieldType =
  | { readonly kind: "bool" | "string" | "payload" | "bytes" }
  /** JSON as its text. */
  | { readonly kind: "json" }
  /** A list of strings, in requests. */
  | { readonly kind: "texts" }
  /** Whole numbers of these bounds, both included. */
  | { readonly kind: "number"; readonly min: number; readonly max: number }
  /** Read as whether the field is there, never written. */
  | { readonly kind: "present" }
  | { readonly kind: "message" | "list"; readonly shape: Shape }
  /** Values by string: strings, or messages of a shape. Each is written like a message of the entry's shape. */
  | { readonly kind: "map"; readonly value: Shape | undefined; readonly entry: Shape };

export interface Field {
  /** Its property in our types. */
  readonly key: string;
  /** Its name in JSON. */
  readonly name: string;
  /** Its number in Protobuf. */
  readonly number: number;
  readonly type: FieldType;
  /** Whether JSON has it also where it is 0, false or empty. */
  readonly always: boolean;
}

/** The fields of one message. */
export interface Shape<T = object> {
  readonly fields: readonly Field[];
  readonly byNumber: ReadonlyMap<number, Field>;
  readonly byKey: ReadonlyMap<string, Field>;
  readonly byName: ReadonlyMap<string, Field>;
  /** Never there: ties the shape to the type it describes. */
  readonly describes?: T;
}

/** A type of field, tied to the type of its values. */
type TypeOf<V> = FieldType & { readonly holds?: V };

type Description<T> = {
  readonly [K in keyof T]-?: readonly [
    number: number,
    type: TypeOf<NonNullable<T[K]>>,
    options?: { readonly name?: string; readonly always?: true },
  ];
};

/** Describes every field of a type. Its name in JSON is its key in snake case, unless told otherwise. */
function describe<T>(description: Description<T>): Shape<T> {
  const entries = Object.entries<Description<Record<string, unknown>>[string]>(description);
  const fields = entries.map(([key, [number, type, { name, always = false } = {}]]) => ({
    key,
    name: name ?? key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    number,
    type,
    always,
  }));
  return {
    fields,
    byNumber: new Map(fields.map((field) => [field.number, field])),
    byKey: new Map(fields.map((field) => [field.key, field])),
    byName: new Map(fields.map((field) => [field.name, field])),
  };
}

const bool: TypeOf<boolean> = { kind: "bool" };
const string: TypeOf<string> = { kind: "string" };
const json: TypeOf<string> = { kind: "json" };
const payload: TypeOf<Payload> = { kind: "payload" };
const deltaPayload: TypeOf<Payload | DeltaData> = { kind: "payload" };
const present: TypeOf<boolean> = { kind: "present" };
const texts: TypeOf<readonly string[]> = { kind: "texts" };
const uint32: TypeOf<number> = { kind: "number", min: 0, max: MAX_UINT32 };
const int32: TypeOf<number> = { kind: "number", min: -MAX_INT32 - 1, max: MAX_INT32 };
/** A 64-bit number of the protocol, of which those are allowed that a double holds exactly. */
const integer: TypeOf<number> = { kind: "number", min: 0, max: Number.MAX_SAFE_INTEGER };

function message<T extends object>(shape: Shape<T>): TypeOf<T> {
  return { kind: "message", shape };
}

function list<T extends object>(shape: Shape<T>): TypeOf<readonly T[]> {
  return { kind: "list", shape };
}

function map<T extends object>(value: Shape<T>): TypeOf<ReadonlyMap<string, T>> {
  return { kind: "map", value, entry: describe({ key: [1, string], value: [2, message(value)] }) };
}

const strings: TypeOf<ReadonlyMap<string, string>> = {
  kind: "map",
  value: undefined,
  entry: describe({ key: [1, string], value: [2, string] }),
};

const always = { always: true } as const;

const NOTHING = describe<Nothing>({});
const CHANNEL_REQUEST = describe<ChannelRequest>({ channel: [1, string] });
const STREAM_POSITION = describe<StreamPosition>({ offset: [1, integer], epoch: [2, string] });

/** A node of a filter. Each level has a shape of its own, so that no frame is read deeper than filters may be. */
function describeFilter(levels: number): Shape<FilterNode> {
  const comparison: Description<Omit<FilterNode, "nodes" | "isTooDeep">> = {
    op: [1, string],
    key: [2, string],
    cmp: [3, string],
    val: [4, string],
    vals: [5, texts],
  };
  return levels > 1
    ? describe<Omit<FilterNode, "isTooDeep">>({ ...comparison, nodes: [6, list(describeFilter(levels - 1))] })
    : describe<Omit<FilterNode, "nodes">>({ ...comparison, isTooDeep: [6, present, { name: "nodes" }] });
}

const SUBSCRIBE_REQUEST = describe<SubscribeRequest>({
  channel: [1, string],
  token: [2, string],
  recover: [3, bool],
  epoch: [6, string],
  offset: [7, integer],
  data: [8, payload],
  positioned: [9, bool],
  recoverable: [10, bool],
  joinLeave: [11, bool],
  delta: [12, string],
  tagsFilter: [13, message(describeFilter(MAX_FILTER_DEPTH)), { name: "tf" }],
  flag: [14, integer],
  type: [15, int32],
  phase: [16, int32],
  cursor: [17, string],
  limit: [18, int32],
});

export const CONNECT_REQUEST: Shape<ConnectRequest> = describe<ConnectRequest>({
  token: [1, string],
  data: [2, payload],
  subs: [3, map(SUBSCRIBE_REQUEST)],
  name: [4, string],
  version: [5, string],
  headers: [6, strings],
});

export const COMMAND: Shape = describe<Requests & { readonly id: number }>({
  id: [1, uint32],
  connect: [4, message(CONNECT_REQUEST)],
  subscribe: [5, message(SUBSCRIBE_REQUEST)],
  unsubscribe: [6, message(CHANNEL_REQUEST)],
  publish: [
    7,
    message(describe<Requests["publish"]>({
      channel: [1, string],
      data: [2, payload],
      type: [3, int32],
      key: [4, string],
      removed: [5, bool],
    })),
  ],
  presence: [8, message(CHANNEL_REQUEST)],
  presence_stats: [9, message(CHANNEL_REQUEST)],
  history: [
    10,
    message(describe<Requests["history"]>({
      channel: [1, string],
      limit: [7, int32],
      since: [8, message(STREAM_POSITION)],
      reverse: [9, bool],
    })),
  ],
  ping: [11, message(NOTHING)],
  send: [12, message(describe<Requests["send"]>({ data: [1, payload] }))],
  rpc: [13, message(describe<Requests["rpc"]>({ data: [1, payload], method: [2, string] }))],
  refresh: [14, message(describe<Requests["refresh"]>({ token: [1, string] }))],
  sub_refresh: [
    15,
    message(
      describe<Requests["sub_refresh"]>({ channel: [1, string], token: [2, string], type: [3, int32] }),
    ),
  ],
});

/** In Protobuf the data are the bytes of a frame, in JSON they are its text. */
export const EMULATION_REQUEST = {
  json: describe<EmulationRequest>({ node: [1, string], session: [2, string], data: [3, string] }),
  protobuf: describe<EmulationRequest>({
    node: [1, string],
    session: [2, string],
    data: [3, { kind: "bytes" }],
  }),
} as const;

const CLIENT_INFO = describe<ClientInfo>({
  user: [1, string, always],
  client: [2, string, always],
  connInfo: [3, json],
  chanInfo: [4, json],
});

export const PUBLICATION: Shape<Publication> = describe<Publication>({
  data: [4, deltaPayload],
  info: [5, message(CLIENT_INFO)],
  offset: [6, integer],
  tags: [7, strings],
  delta: [8, bool],
  time: [9, integer],
  channel: [10, string],
  key: [11, string],
  removed: [12, bool],
});

const SUBSCRIBE_RESULT = describe<SubscribeResult>({
  expires: [1, bool],
  ttl: [2, uint32],
  recoverable: [3, bool],
  epoch: [6, string],
  publications: [7, list(PUBLICATION)],
  recovered: [8, bool],
  offset: [9, integer],
  positioned: [10, bool],
  data: [11, payload],
  wasRecovering: [12, bool],
  delta: [13, bool],
  type: [15, int32],
  phase: [16, int32],
  cursor: [17, string],
  state: [18, list(PUBLICATION)],
});

const CONNECT_RESULT = describe<ConnectResult>({
  client: [1, string],
  version: [2, string],
  expires: [3, bool],
  ttl: [4, uint32],
  data: [5, payload],
  subs: [6, map(SUBSCRIBE_RESULT)],
  ping: [7, uint32],
  pong: [8, bool],
  session: [9, string],
  node: [10, string],
  time: [11, integer],
});

/** The fields of a connect result, numbered otherwise: as the protocol has it. */
const CONNECT_PUSH = describe<ConnectResult>({
  client: [1, string],
  version: [2, string],
  data: [3, payload],
  subs: [4, map(SUBSCRIBE_RESULT)],
  expires: [5, bool],
  ttl: [6, uint32],
  ping: [7, uint32],
  pong: [8, bool],
  session: [9, string],
  node: [10, string],
  time: [11, integer],
});

const EXPIRY = describe<Results["sub_refresh"]>({ expires: [1, bool], ttl: [2, uint32] });
const JOIN_LEAVE = describe<ChannelPushes["join"]>({ info: [1, message(CLIENT_INFO)] });

export const PUSH: Shape = describe<ChannelPushes & ConnectionPushes & { readonly channel: string }>({
  channel: [2, string],
  pub: [4, message(PUBLICATION)],
  join: [5, message(JOIN_LEAVE)],
  leave: [6, message(JOIN_LEAVE)],
  unsubscribe: [
    7,
    message(describe<ChannelPushes["unsubscribe"]>({ code: [2, uint32], reason: [3, string] })),
  ],
  message: [8, message(describe<ConnectionPushes["message"]>({ data: [1, payload] }))],
  subscribe: [
    9,
    message(describe<ChannelPushes["subscribe"]>({
      recoverable: [1, bool],
      epoch: [4, string],
      offset: [5, integer],
      positioned: [6, bool],
      data: [7, payload],
    })),
  ],
  connect: [10, message(CONNECT_PUSH)],
  disconnect: [
    11,
    message(describe<ConnectionPushes["disconnect"]>({ code: [1, uint32], reason: [2, string] })),
  ],
  refresh: [12, message(EXPIRY)],
});

export const REPLY: Shape = describe<
  Results & { readonly id: number; readonly error: ReplyError; readonly push: object }
>({
  id: [1, uint32],
  error: [
    2,
    message(describe<ReplyError>({ code: [1, uint32], message: [2, string], temporary: [3, bool] })),
  ],
  push: [4, message(PUSH)],
  connect: [5, message(CONNECT_RESULT)],
  subscribe: [6, message(SUBSCRIBE_RESULT)],
  unsubscribe: [7, message(NOTHING)],
  publish: [8, message(NOTHING)],
  presence: [
    9,
    message(describe<Results["presence"]>({ presence: [1, map(CLIENT_INFO), always] })),
  ],
  presence_stats: [
    10,
    message(describe<Results["presence_stats"]>({
      numClients: [1, uint32, always],
      numUsers: [2, uint32, always],
    })),
  ],
  history: [
    11,
    message(describe<Results["history"]>({
      publications: [1, list(PUBLICATION), always],
      epoch: [2, string, always],
      offset: [3, integer, always],
    })),
  ],
  ping: [12, message(NOTHING)],
  rpc: [13, message(describe<Results["rpc"]>({ data: [1, payload] }))],
  refresh: [
    14,
    message(describe<Results["refresh"]>({
      client: [1, string],
      version: [2, string],
      expires: [3, bool],
      ttl: [4, uint32],
    })),
  ],
  sub_refresh: [15, message(EXPIRY)],
});

/** The type of a list or map. */
export type LongType =
  | { readonly kind: "list"; readonly shape: Shape }
  | Extract<FieldType, { readonly kind: "map" }>;

/** A list or map that is not empty, and the number and type of its field. */
export type Long = readonly [
  number: number,
  type: LongType,
  value: readonly object[] | ReadonlyMap<string, object>,
];

/** The lists and maps in a result of a kind. */
export function* findLong(kind: string, result: object): Iterable<Long> {
  const parent = REPLY.byKey.get(kind)?.type;
  if (parent?.kind !== "message") return;
  for (const { key, number, type } of parent.shape.fields) {
    const value = (result as Readonly<Record<string, unknown>>)[key];
    if (type.kind === "list" && Array.isArray(value) && value.length > 0) {
      yield [number, { kind: "list", shape: type.shape }, value];
    } else if (type.kind === "map" && value instanceof Map && value.size > 0) yield [number, type, value];
  }
}
