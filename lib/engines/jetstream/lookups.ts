/**
 * What the engine asks the server for beside the stream's own order: single records, and up to where the stream goes.
 * The engine and its reader use it.
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { MessagingError } from "../../core/errors.ts";
import type { LogQuery } from "../../core/log.ts";
import { APPEND_MILLISECONDS } from "./append_queue.ts";
import { type Content, decodeContents, decodeHead, HEAD, type StreamRecord } from "./record.ts";
import type { JetStreamState } from "./state.ts";
import { findLast } from "./stream.ts";

/** How long to wait before a position is taken for one that cannot be. */
const SECOND_LOOK_MILLISECONDS = 200;

export interface LookupOptions {
  /** The name of the stream. */
  readonly stream: string;
  /** Undefined while the server cannot be reached. */
  manager(): JetStreamManager | undefined;
  /** Waits for a record to be applied. Answers whether it was, within so many milliseconds. */
  waitFor(record: number, milliseconds: number): Promise<boolean>;
  /** The error for clients. */
  fail(attempt: string, cause?: unknown): MessagingError;
}

/** Every method throws a {@linkcode MessagingError}, `log_unavailable`, if the server does not answer. */
export class JetStreamLookups {
  readonly #options: LookupOptions;

  constructor(options: LookupOptions) {
    this.#options = options;
  }

  /** The messages of a record; undefined if it was purged. */
  async fetch(record: number): Promise<readonly Content[] | undefined> {
    const found = await this.getRecord(record, "read stored messages");
    return found && decodeContents(found.body, found.head?.count ?? 0);
  }

  /** A record; undefined if it was purged. @param attempt what it is for, as the error says */
  async getRecord(
    record: number,
    attempt: string,
  ): Promise<Pick<StreamRecord, "head" | "body"> | undefined> {
    const { stream, fail } = this.#options;
    const manager = this.#options.manager();
    if (manager === undefined) throw fail(attempt);
    try {
      // A follower may not have it yet; then the leader is asked.
      const message = await manager.direct.getMessage(stream, { seq: record }) ??
        await manager.streams.getMessage(stream, { seq: record });
      return message === null
        ? undefined
        : { head: decodeHead(message.header.get(HEAD)), body: message.data };
    } catch (cause) {
      throw fail(attempt, cause);
    }
  }

  /** Resolves once everything is applied that the stream holds now. */
  async catchUp(): Promise<void> {
    const { stream, fail } = this.#options;
    const attempt = "read stored messages";
    const manager = this.#options.manager();
    if (manager === undefined) throw fail(attempt);
    let last;
    try {
      last = await findLast(manager, stream);
    } catch (cause) {
      throw fail(attempt, cause);
    }
    if (!await this.#options.waitFor(last, APPEND_MILLISECONDS)) throw fail(attempt);
  }

  /** Catches up for a query that asks for that, or comes from a node that is ahead. */
  async catchUpWith(query: LogQuery, state: () => JetStreamState | undefined): Promise<void> {
    await this.catchUp();
    if (!isBehind(state(), query)) return;
    // One that has just become leader may not have applied yet what it has.
    await new Promise((resolve) => setTimeout(resolve, SECOND_LOOK_MILLISECONDS));
    await this.catchUp();
  }
}

/** Whether the cursor is ahead of this node: it may come from another node. */
export function isBehind(state: JetStreamState | undefined, { after, selector }: LogQuery): boolean {
  if (state === undefined) return false;
  if (after.kind === "id") return after.epoch === state.epoch && after.sequence > state.sequence;
  if (after.kind !== "offset" || (after.epoch ?? state.epoch) !== state.epoch) return false;
  return selector.channel !== undefined && after.offset > (state.peek(selector.channel)?.offset ?? 0);
}
