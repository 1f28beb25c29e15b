/** The Log port: where messages are kept and put in order, and from where they are announced to the hub. */
import type { Bus } from "./cluster/bus.ts";
import type { Draft, Message } from "./message.ts";
import type { Selector } from "./channel.ts";

/**
 * Where a message stands in its channel: `offset` counts the channel's stored messages from 1 without holes,
 * `epoch` names the life of the log. A log that lost messages it had acknowledged, or starts empty, has a new
 * epoch, so that nobody takes it for the one they knew.
 */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** What the log says of an appended draft. `offset` and `sequence` are 0 when it was delivered, not stored. */
export interface Receipt extends Position {
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** True when the draft's idempotency key was seen before: this is the first message's receipt. */
  readonly duplicate: boolean;
}

/** Where to start reading. The messages after it are read, oldest first. */
export type Cursor =
  /** Everything that is stored. */
  | { readonly kind: "earliest" }
  /** The newest messages, as many as the query's limit. Never a gap. */
  | { readonly kind: "latest" }
  /** After a log-wide id. `asOf` comes from a page's `next` and says what its reader has been told already. */
  | { readonly kind: "id"; readonly epoch: string; readonly sequence: number; readonly asOf?: AsOf }
  /** After an offset; only for a selector of exactly one channel. No epoch: whatever the log's is. */
  | { readonly kind: "offset"; readonly offset: number; readonly epoch?: string }
  /** From a moment on, in milliseconds since 1970. */
  | { readonly kind: "time"; readonly time: number };

/**
 * When a page was read. The pages that follow it call a gap only what is removed after that. It means something to
 * the log that gave it and only while that is open: never write it down.
 */
export interface AsOf {
  /** How often the log had removed messages, other than those whose own ttl was over. */
  readonly removals: number;
  /** Milliseconds since 1970. */
  readonly time: number;
}

export interface LogQuery {
  readonly selector: Selector;
  readonly after: Cursor;
  /** At most this many messages. */
  readonly limit: number;
  /** End the page with the message that brings its payloads to this many bytes. */
  readonly maxBytes?: number;
}

/**
 * What a read found. A gap means that messages after the cursor are gone, or that the cursor is not of this
 * log; the page then holds what is still there, and `earliest` is the id at which that begins.
 */
export type LogPage =
  & {
    readonly messages: readonly Message[];
    /** The newest position of the one channel read; offset 0 if it is empty or several were read. */
    readonly position: Position;
    /** Where to read on: no message between this page and that cursor is ever missed. */
    readonly next: Cursor & { readonly kind: "id" };
    /** True when a limit cut the page short. */
    readonly more: boolean;
  }
  & ({ readonly kind: "complete" } | { readonly kind: "gap"; readonly earliest: string });

/**
 * A log of messages with positions.
 *
 * Order: `onStored` gets each message once, in sequence order, in batches; a batch may span channels. Whatever
 * is readable has been announced and the other way round, without an await between: a reader that registers
 * with the hub and then reads misses nothing.
 * Atomicity: `append` resolves after the message is stored as durably as the engine promises, and announced.
 * Errors: `append`, `read` and `clear` reject with a MessagingError, `log_unavailable` or `log_full`; a draft
 * whose append rejected is not stored. Drafts come checked: a log validates nothing.
 */
export interface Log extends AsyncDisposable, Partial<LogInsight> {
  /** The id after which nothing has been announced yet. */
  readonly top: { readonly epoch: string; readonly sequence: number };
  append(draft: Draft): Promise<Receipt>;
  read(query: LogQuery): Promise<LogPage>;
  /** Removes a channel's stored messages; its offsets go on. Resolves to how many there were. */
  clear(channel: string): Promise<number>;
  /** Called with what has just been stored, or was only to be delivered. Set once, by the hub; must not throw. */
  onStored: (messages: readonly Message[]) => void;
  /**
   * Called when the log lost what it had announced, and has a new epoch, or has messages it cannot announce any more:
   * readers must begin anew, by their positions.
   * Set once, by the hub; must not throw. Left out by a log that this cannot happen to while it is open.
   */
  onReset?: (reason: string) => void;
  /** How nodes that share the log talk to each other; undefined for a log that has one node only. */
  readonly bus?: Bus;
}

/** A copy of a log as it was at one moment, to be kept elsewhere. */
export interface Backup {
  /** Bytes. */
  readonly size: number;
  /** Fails when the copy cannot be finished. What is not read of it is to be cancelled. */
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** What a log can whose messages are in a file of its own. Whoever asks takes `Partial` of it. */
export interface LogBackup {
  /**
   * Begins a copy with every message that is stored by now, while the log goes on.
   *
   * @throws {MessagingError} `log_unavailable` while another copy is under way, or `log_full`
   */
  openBackup(): Promise<Backup>;
}

/** What a log tells of itself beside its port, if it can. */
export interface LogInsight {
  /**
   * Why the log cannot store messages at present, in words for the operator; undefined while it can. `/readyz` asks
   * every few seconds: a log that was failing may try the disk or server again.
   */
  checkReady(): string | undefined;
  /** The channels that ever had a stored message, in any order, with how many of them are stored now. */
  listStored(): Iterable<StoredChannel>;
  /** One of them; undefined for a channel that never had a stored message. */
  findStored(channel: string): StoredChannel | undefined;
}

export interface StoredChannel {
  readonly channel: string;
  /** Of its newest message. */
  readonly offset: number;
  readonly stored: number;
}
