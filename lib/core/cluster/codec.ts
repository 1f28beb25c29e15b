/** The messages between nodes, and their encoding in JSON. The cluster sends and receives them. */
import type { Outcome } from "./calls.ts";

/** The version of these messages. Messages of other versions are ignored. */
const VERSION = 1;

/** What a node tells about itself in every heartbeat. */
export interface NodeSummary {
  /** The name that its operator gave it. */
  readonly name: string;
  readonly version: string;
  /** The process that it is a thread of, by the node of the engine's thread; left out by a node of its own. */
  readonly process?: string | undefined;
  /** When it started, in milliseconds since 1970, by its own clock. */
  readonly startedAt: number;
  readonly clients: number;
  readonly users: number;
  readonly subscriptions: number;
  /** Channels with local subscriptions by exact name. */
  readonly channels: number;
  /** Messages published on the node, and messages offered to its sockets, since it started. */
  readonly published: number;
  readonly delivered: number;
}

/** A client as its peers know it. */
interface ClientFacts {
  readonly id: string;
  readonly name?: string | undefined;
  readonly user?: string | undefined;
  readonly info?: string | undefined;
  readonly protocol: string;
  readonly since: number;
  /** IP address of the other end. */
  readonly address: string;
}

/** One change to the entries of a node. Its keys ascend, and none is used twice. */
export type Change =
  | readonly ["client", key: number, facts: ClientFacts]
  /** With `channelInfo` if the member on the channel has one, and with its `user` if that is not the client's. */
  | readonly [
    "subscription",
    key: number,
    client: number,
    selector: string,
    channelInfo?: string | null,
    user?: string,
  ]
  /** The client or subscription has ended; with a client, so have its subscriptions. */
  | readonly ["gone", key: number];

export type NodeMessage =
  & { readonly node: string }
  & (
    /** Sent every second. `sequence` is that of the last changes; `fresh` asks all peers for a heartbeat now. */
    | {
      readonly kind: "beat";
      readonly sequence: number;
      readonly fresh?: boolean;
      readonly summary: NodeSummary;
    }
    /** The changes of one turn. `sequence` counts such messages from 1 without holes. */
    | { readonly kind: "changes"; readonly sequence: number; readonly changes: readonly Change[] }
    /** Asks one node for its entries after a key, in order of keys. */
    | { readonly kind: "ask"; readonly after: number }
    /** The entries of a node as of the changes `sequence`, as many as one message allows. */
    | {
      readonly kind: "page";
      readonly after: number;
      readonly sequence: number;
      readonly changes: readonly Change[];
      readonly more: boolean;
    }
    | { readonly kind: "goodbye" }
    /** Calls a method. */
    | { readonly kind: "call"; readonly id: number; readonly method: string; readonly body: unknown }
    | { readonly kind: "answer"; readonly id: number; readonly outcome: Outcome }
  );

const KINDS: ReadonlySet<unknown> = new Set([
  "beat",
  "changes",
  "ask",
  "page",
  "goodbye",
  "call",
  "answer",
]);

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();

/** A message of changes without them. */
type Head<M extends NodeMessage> = M extends { readonly changes: unknown } ? Omit<M, "changes"> : never;

export function encodeNodeMessage(message: Exclude<NodeMessage, { changes: unknown }>): Uint8Array {
  return UTF8.encode(JSON.stringify({ v: VERSION, ...message }));
}

/** Encodes a message with changes that are encoded already, as the caller had to count their bytes. */
export function encodeChanges(head: Head<NodeMessage>, changes: readonly string[]): Uint8Array {
  const text = JSON.stringify({ v: VERSION, ...head });
  return UTF8.encode(`${text.slice(0, -1)},"changes":[${changes.join(",")}]}`);
}

export function encodeChange(change: Change): string {
  return JSON.stringify(change);
}

/**
 * Parses a message of another node. Nodes trust each other: the contents are not checked.
 *
 * @throws {SyntaxError} for anything but a message of this version
 */
export function parseNodeMessage(bytes: Uint8Array): NodeMessage {
  const value: unknown = JSON.parse(TEXT.decode(bytes));
  if (typeof value !== "object" || value === null) throw new SyntaxError("It is not an object");
  const { v, kind, node } = value as { v?: unknown; kind?: unknown; node?: unknown };
  if (v !== VERSION) throw new SyntaxError(`It has version ${v}, and this node speaks version ${VERSION}`);
  if (typeof node !== "string" || !KINDS.has(kind)) {
    throw new SyntaxError("It has no node or an unknown kind");
  }
  return value as NodeMessage;
}
