/** Replays history and then goes live: no gap, duplicate or reordering, in bounded memory. Subscriptions run it. */
import { SliceClock } from "../base/slices.ts";
import type { Selector } from "./channel.ts";
import type { Cursor, Log, LogPage } from "./log.ts";
import { type Message, payloadSize } from "./message.ts";
import { formatResumeId } from "./resume_id.ts";

/** Size of a page of a replay: this is what a subscription costs while it catches up. */
const PAGE_MESSAGES = 256;
const PAGE_BYTES = 256 * 1024;
/** Bounds of the live messages that are buffered meanwhile. */
const MAX_BUFFERED_MESSAGES = 1_024;
const MAX_BUFFERED_BYTES = 1024 * 1024;
/**
 * How long a slice of a replay lasts, in milliseconds: of each turn of the event loop, beside a publisher that keeps it
 * busy, all replays together get so much. With 3 they did not come to the end of what it publishes into SQLite.
 */
const SLICE_MILLISECONDS = 8;

/** A page of the log that reports a gap. */
export type Gap = LogPage & { readonly kind: "gap" };

/** The id to resume from after a gap: everything that is stored follows it, and the same gap is not told again. */
export function findResumeId({ resume }: Gap): string {
  return formatResumeId(resume);
}

/**
 * Buffers live messages while history is replayed. Beyond its bounds it drops them all: stored messages are read from
 * the log instead, and transient ones carry no guarantee.
 */
export class LiveBuffer {
  #messages: Message[] = [];
  #overflowed = false;
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxMessages: number = MAX_BUFFERED_MESSAGES, maxBytes: number = MAX_BUFFERED_BYTES) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  add(messages: readonly Message[]): void {
    if (this.#overflowed) return;
    for (const { payload } of messages) this.#bytes += payloadSize(payload);
    if (this.#messages.length + messages.length > this.#maxMessages || this.#bytes > this.#maxBytes) {
      this.#forget();
      this.#overflowed = true;
    } else this.#messages.push(...messages);
  }

  /** Drops messages that need not be sent any more. */
  remove(isRemoved: (message: Message) => boolean): void {
    this.#messages = this.#messages.filter((message) => !isRemoved(message));
  }

  /** Resets an overflow, before a read that covers the dropped messages. */
  restart(): void {
    this.#overflowed = false;
  }

  /** The buffered messages after a sequence, or undefined if any were dropped. */
  release(sequence: number): readonly Message[] | undefined {
    if (this.#overflowed) return undefined;
    return this.#messages.filter((message) => message.sequence === 0 || message.sequence > sequence);
  }

  #forget(): void {
    this.#messages = [];
    this.#bytes = 0;
  }
}

interface ReplayOptions {
  readonly log: Pick<Log, "read">;
  readonly selector: Selector;
  readonly after: Cursor;
  /** Collects live messages from before the first read on. */
  readonly buffer: LiveBuffer;
  /**
   * Writes stored messages. Resolves to true once there is room for more, or everything has left where these are the last
   * ones; to false if the subscription has ended.
   */
  write(messages: readonly Message[], isLast: boolean): Promise<boolean>;
  /** Called with a gap before the messages that follow it. Returns false to stop the replay. */
  onGap(gap: Gap): boolean;
  /** Called with the buffered messages that were not replayed; from this call on the subscription is live. */
  goLive(messages: readonly Message[]): void;
}

/**
 * Replays stored messages as fast as the client takes them until none is left, then goes live.
 *
 * Together, a page that reached the end of the log and the buffer are complete: messages announced before the read are
 * in the page, later ones in the buffer. Going live is one synchronous step.
 *
 * @throws whatever reading the log throws
 */
export async function replay(options: ReplayOptions): Promise<void> {
  const { log, selector, buffer, write, onGap, goLive } = options;
  let after = options.after;
  const clock = new SliceClock(1, SLICE_MILLISECONDS);
  while (true) {
    buffer.restart();
    const page = await log.read({ selector, after, limit: PAGE_MESSAGES, maxBytes: PAGE_BYTES });
    if (page.kind === "gap" && !onGap(page)) return;
    if (page.messages.length > 0 && !await write(page.messages, !page.more)) return;
    after = page.next;
    if (page.more) {
      // Neither an engine nor a client that reads as fast makes a replay wait: others are served meanwhile.
      if (clock.isOver) await clock.next();
      continue;
    }
    const held = buffer.release(page.next.sequence);
    if (held !== undefined) return goLive(held);
  }
}
