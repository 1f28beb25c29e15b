/** The handover from history to live: no gap, no duplicate, no reorder, in bounded memory. Subscriptions run it. */
import type { Selector } from "./channel.ts";
import type { Cursor, Log, LogPage } from "./log.ts";
import { type Message, payloadSize } from "./message.ts";

/** What a page of a replay holds at most: this is what one reader costs while it catches up. */
const PAGE_MESSAGES = 256;
const PAGE_BYTES = 256 * 1024;
/** What is held of live messages at most while it does. */
const MAX_BUFFERED_MESSAGES = 1_024;
const MAX_BUFFERED_BYTES = 1024 * 1024;

/** What a log told of a gap. */
export type Gap = LogPage & { readonly kind: "gap" };

/**
 * Keeps live messages while history is replayed. Beyond its bound it forgets them all: stored ones are read
 * from the log again, and ephemeral ones were never promised.
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

  /** Forgets that anything overflowed: what the log is asked from here on covers it. */
  restart(): void {
    this.#overflowed = false;
  }

  /** The held messages beyond a sequence, or undefined when some were forgotten. */
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
  /** Writes stored messages; resolves when the reader has room for more, to false when it is gone. */
  write(messages: readonly Message[]): Promise<boolean>;
  /** Tells the reader of a gap, before what follows it. Returns false to stop. */
  onGap(gap: Gap): boolean;
  /** Takes what was held and is not replayed yet; from this call on the reader is live. */
  goLive(messages: readonly Message[]): void;
}

/**
 * Replays stored messages at the reader's pace until none is left, then hands over to live ones.
 *
 * A page that reached the end of the log and the buffer together cover everything: what was announced before
 * the read is in the page, what came after is in the buffer. They meet in one synchronous step.
 *
 * @throws what reading the log throws
 */
export async function replay(options: ReplayOptions): Promise<void> {
  const { log, selector, buffer, write, onGap, goLive } = options;
  let after = options.after;
  while (true) {
    buffer.restart();
    const page = await log.read({ selector, after, limit: PAGE_MESSAGES, maxBytes: PAGE_BYTES });
    if (page.kind === "gap" && !onGap(page)) return;
    if (page.messages.length > 0 && !await write(page.messages)) return;
    after = page.next;
    if (page.more) continue;
    const held = buffer.release(page.next.sequence);
    if (held !== undefined) return goLive(held);
  }
}
