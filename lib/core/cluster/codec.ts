/** What nodes say to each other, and how that is written: JSON, one message each. The cluster speaks it. */
import type { Outcome } from "./calls.ts";

/** A version of this language; nodes of another one are not understood, and not heard. */
const VERSION = 1;

/** What a node says of itself with every beat. */
export interface NodeSummary {
  /** What its operator calls it. */
  readonly name: string;
  readonly version: string;
  /** When it started, in milliseconds since 1970, by its own clock. */
  readonly startedAt: number;
  readonly clients: number;
  readonly users: number;
  readonly subscriptions: number;
  /** Channels that somebody reads by name there. */
  readonly channels: number;
  /** Messages published there, and those offered to its sockets, since it started. */
  readonly published: number;
  readonly delivered: number;
}

/** A client as other nodes know it. Keys are of its node's making: they grow, and none is used twice. */
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

/** One step of what a node has. What a key stands for never changes. */
export type Change =
  | readonly ["client", key: number, facts: ClientFacts]
  /** With `channelInfo` if the member on the channel says more than the client does. */
  | readonly ["subscription", key: number, client: number, selector: string, channelInfo?: string]
  /** The client or subscription is gone; a client takes its subscriptions along. */
  | readonly ["gone", key: number];

export type NodeMessage =
  & { readonly node: string }
  & (
    /** Said every second. `sequence` is that of the last changes; `fresh` asks all for a beat at once. */
    | {
      readonly kind: "beat";
      readonly sequence: number;
      readonly fresh?: boolean;
      readonly summary: NodeSummary;
    }
    /** The changes of one turn, numbered from 1 without holes. */
    | { readonly kind: "changes"; readonly sequence: number; readonly changes: readonly Change[] }
    /** Asks one node for what it has, in order of keys, after a key. */
    | { readonly kind: "ask"; readonly after: number }
    /** What a node had when it had made `sequence` changes: as much as one message holds. */
    | {
      readonly kind: "page";
      readonly after: number;
      readonly sequence: number;
      readonly changes: readonly Change[];
      readonly more: boolean;
    }
    | { readonly kind: "goodbye" }
    /** Asks for something to be done. */
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

/** Writes a message of changes that are written already: whoever makes one has to count its bytes. */
export function encodeChanges(head: Head<NodeMessage>, changes: readonly string[]): Uint8Array {
  const text = JSON.stringify({ v: VERSION, ...head });
  return UTF8.encode(`${text.slice(0, -1)},"changes":[${changes.join(",")}]}`);
}

export function encodeChange(change: Change): string {
  return JSON.stringify(change);
}

/**
 * Reads a message of another node. Nodes trust each other: what is inside is taken as they wrote it.
 *
 * @throws {SyntaxError} for what is no message of this version
 */
export function parseNodeMessage(bytes: Uint8Array): NodeMessage {
  const value: unknown = JSON.parse(TEXT.decode(bytes));
  if (typeof value !== "object" || value === null) throw new SyntaxError("It is no object");
  const { v, kind, node } = value as { v?: unknown; kind?: unknown; node?: unknown };
  if (v !== VERSION) throw new SyntaxError(`It is of version ${v}, and this node speaks ${VERSION}`);
  if (typeof node !== "string" || !KINDS.has(kind)) {
    throw new SyntaxError("It names no node, or no known kind");
  }
  return value as NodeMessage;
}
