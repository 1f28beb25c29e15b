/** The Log port: stores messages, puts them in order, and announces them to the hub. Engines implement it. */
import type { Bus } from "./cluster/bus.ts";
import type { Interest } from "./interest.ts";
import type { Draft, Message, MessageId, Removal } from "./message.ts";
import type { ResumeId, Told } from "./resume_id.ts";
import type { Selector } from "./channel.ts";

/**
 * Where a message stands in its channel: `offset` counts the channel's stored messages from 1 without holes; of a
 * channel that was forgotten it goes on, or continues above every offset that any forgotten channel had. `epoch`
 * identifies the log: one that lost acknowledged messages, or starts empty, gets a new epoch, so that positions of the
 * old one are recognized as lost.
 */
export interface Position {
  /** Names the life of the engine. */
  readonly epoch: string;
  /** Counts the channel's stored messages from 1. */
  readonly offset: number;
}

/** The result of appending a draft. `offset` and `sequence` are 0 for a transient message. */
export interface Receipt extends Position {
  /** Orders all stored messages of one engine. */
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** True if the draft's idempotency key or marker was seen before: this is the receipt of the first message. */
  readonly duplicate: boolean;
}

/** Where to start reading: the messages after it are read, oldest first. */
export type Cursor =
  /** All stored messages. */
  | { readonly kind: "earliest" }
  /** The newest messages, as many as the query's limit. Never a gap. */
  | { readonly kind: "latest" }
  /**
   * After an id. `told` comes from where a gap was handed out, and may be stored: it is no gap again. `asOf` comes from
   * the `next` of the previous page: gaps from before that were reported already.
   */
  | {
    readonly kind: "id";
    readonly epoch: string;
    readonly sequence: number;
    readonly told?: Told;
    readonly asOf?: AsOf;
  }
  /** After an offset; only for a selector of one channel. Without an epoch, that of the log is meant. */
  | { readonly kind: "offset"; readonly offset: number; readonly epoch?: string }
  /** From a time on, in milliseconds since 1970. */
  | { readonly kind: "time"; readonly time: number };

/**
 * When a page was read: the pages that follow it report as a gap only what was removed since then. Valid only for the
 * log that returned it, while it is open: never store it.
 */
export interface AsOf {
  /** How often the log had removed messages, except those whose own ttl had passed. */
  readonly removals: number;
  /** Milliseconds since 1970. */
  readonly time: number;
}

export interface LogQuery {
  readonly selector: Selector;
  readonly after: Cursor;
  /** At most this many messages. */
  readonly limit: number;
  /** Ends the page with the message that brings the payloads to this many bytes. */
  readonly maxBytes?: number;
  /**
   * Whether everything is to be announced here first that was stored anywhere when it was asked. A log that one process
   * has to itself does that anyway.
   */
  readonly isCurrent?: boolean;
}

/**
 * The result of a read. A gap means that messages after the cursor were removed, or that the cursor belongs to another
 * log; the page then holds what is left, `earliest` is the id of the first message left, and reading from `resume`
 * gives the same messages without the gap. After a gap, `next` says of it what the pages that follow need.
 */
export type LogPage =
  & {
    readonly messages: readonly Message[];
    /**
     * The newest position of the channel; offset 0 if it never had a message, or the selector is of several channels.
     */
    readonly position: Position;
    /** Where the next page starts: no message lies between this page and that cursor. */
    readonly next: Cursor & { readonly kind: "id" };
    /** Whether a limit cut the page short. */
    readonly more: boolean;
  }
  & (
    | { readonly kind: "complete" }
    | { readonly kind: "gap"; readonly earliest: string; readonly resume: ResumeId }
  );

/**
 * A log of messages with positions.
 *
 * Order: `onStored` gets each message once, in sequence order, in batches; a batch may span channels. A message becomes
 * readable and is announced in one synchronous step: a subscription that registers with the hub and then reads misses
 * nothing.
 * Atomicity: `append` resolves once the message is stored, as durably as the engine promises, and announced.
 * Errors: `append`, `read`, `clear` and `remove` reject with a MessagingError, `log_unavailable` or `log_full`; a draft
 * whose append rejected is not stored. The hub has checked the drafts: a log validates nothing.
 * Forgetting: a channel is forgotten when nothing is stored in it and its newest message is older than a time that is
 * set. Positions stay what they were: who resumes from one is told of a gap if messages after it were removed, and
 * otherwise of none, unless so many channels were forgotten that the engine cannot tell them apart; then a gap may be
 * told for nothing. The same holds for patterns and a cursor older than the newest message of a channel that was
 * forgotten.
 * Markers: with a `state`, a message and the entry that its draft's `marker` names are stored both or neither, whenever
 * the process is killed. JetStream keeps that in two steps, within the bound that `engines/jetstream/markers.ts`
 * states.
 */
export interface Log extends AsyncDisposable, Partial<LogInsight> {
  /** The id of the last message that was stored, whether it was announced here or not wanted. */
  readonly top: { readonly epoch: string; readonly sequence: number };
  append(draft: Draft): Promise<Receipt>;
  read(query: LogQuery): Promise<LogPage>;
  /**
   * Removes the stored messages of a channel and resolves to their number. Its offsets continue.
   *
   * @param hasKeys whether its map has keys: every node is told then, even if the engine has forgotten the channel
   */
  clear(channel: string, hasKeys?: boolean): Promise<number>;
  /**
   * Removes one stored message: it was taken back, so that nobody misses it. Its offset is not given again, and readers
   * are told of no gap.
   *
   * @returns whether the channel had it
   */
  remove(channel: string, id: MessageId): Promise<boolean>;
  /** Called with messages that were just stored, or are transient. Set once, by the hub; must not throw. */
  onStored: (messages: readonly Message[]) => void;
  /**
   * Called on every node after `clear` or `remove` have removed messages there, in order with `onStored`: what they
   * removed was announced before. Not called for what rules and ttls remove. Set once, by the hub; must not throw.
   */
  onRemoved: (removal: Removal) => void;
  /**
   * Called on every node, instead of `onRemoved`, after `clear` found no messages to remove: keys of a map outlive their
   * messages and go all the same. In order with `onStored` like `onRemoved`. JetStream tells this node alone where the
   * channel is forgotten and was said to have no keys. Set once, by the hub; must not throw.
   */
  onCleared?: (removal: Removal) => void;
  /**
   * Called when the log lost announced messages, and has a new epoch, or stored messages that it can no longer
   * announce: subscribers must reconnect and recover by position. Set once, by the hub; must not throw. Omitted by a
   * log to which this cannot happen while it is open.
   */
  onReset?: (reason: string) => void;
  /**
   * Has `onStored` called from now on with those messages alone that the hub says it wants: of the channels that it
   * adds, a direct message being of the channel that it names. A message with a key of a map, or to be retained, is
   * announced all the same, as every node keeps those. Omitted by a log to which an announcement costs nothing.
   */
  narrow?(): Interest;
  /** The bus between the nodes that share the log; undefined for a log that has one node only. */
  readonly bus?: Bus;
  /** What services remember across restarts; undefined for a log that keeps nothing but messages. */
  readonly state?: LogState;
}

/**
 * A small store of texts by key beside the messages, shared by all nodes, such as how far a webhook has got. Each write
 * names the revision that it replaces, so that of two nodes that write only one succeeds.
 *
 * Errors: all reject with a MessagingError, `log_unavailable` or `log_full`.
 */
export interface LogState {
  /** @param key 1 to 100 characters of A-Z a-z 0-9 _ - */
  read(key: string): Promise<StateEntry | undefined>;
  /**
   * Replaces a value.
   *
   * @param revision of the value that is replaced; 0 if there is to be none yet
   * @returns the new revision, above 0; undefined, and nothing is written, if the value has another revision by now
   */
  write(key: string, value: string, revision: number): Promise<number | undefined>;
  /**
   * Removes a value. Afterwards the key is new: it is written with revision 0, and no revision it had is used again.
   *
   * @param revision of the value that is removed
   * @returns whether it was removed; false, and nothing is, if the value has another revision by now, or there is none
   */
  delete(key: string, revision: number): Promise<boolean>;
  /**
   * The entries whose keys begin with a text, in any order. Those that are written or removed meanwhile may or may not
   * be among them. Errors like the other methods, while it is iterated.
   */
  list(prefix: string): AsyncIterable<StateItem>;
}

export interface StateEntry {
  readonly value: string;
  /** Above 0. */
  readonly revision: number;
}

export interface StateItem extends StateEntry {
  readonly key: string;
}

/** A copy of a log at one moment. */
export interface Backup {
  /** Bytes. */
  readonly size: number;
  /** Errors if the copy fails. The caller must read it to the end or cancel it. */
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** The part of the port that only logs with a file of their own implement. Callers use `Partial` of it. */
export interface LogBackup {
  /**
   * Starts a copy of all messages stored so far. The log remains in use meanwhile.
   *
   * @throws {MessagingError} `log_unavailable` while another copy is under way, or `log_full`
   */
  openBackup(): Promise<Backup>;
}

/** Optional parts of the port: what a log can say about itself. */
export interface LogInsight {
  /**
   * Why the log cannot store messages now, in words for the operator; undefined while it can. `/readyz` calls it every
   * few seconds, so a log that was failing may use it to try the disk or server again.
   */
  checkReady(): string | undefined;
  /** All channels that had a stored message and were not forgotten since, in any order. */
  listStored(): Iterable<StoredChannel>;
  /** One of them; undefined for any other channel. */
  findStored(channel: string): StoredChannel | undefined;
}

export interface StoredChannel {
  readonly channel: string;
  /** The offset of its newest message. */
  readonly offset: number;
  /** The number of messages stored now. */
  readonly stored: number;
}
