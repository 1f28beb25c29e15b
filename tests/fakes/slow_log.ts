/** A log in front of another whose reads wait until the test lets them resolve. */
import type { Log, LogPage, LogQuery, Receipt } from "../../lib/core/log.ts";
import type { Draft, Message, MessageId } from "../../lib/core/message.ts";

export class SlowLog implements Log {
  /** Whether a read sees the log as it was when asked, or as it is when it resolves. */
  late = false;
  /** How many reads there were. */
  reads = 0;
  readonly #log: Log;
  readonly #pageMessages: number;
  #waiting: (() => void)[] = [];

  /** @param pageMessages pages hold at most so many messages, whatever the query's limit */
  constructor(log: Log, pageMessages = Infinity) {
    this.#log = log;
    this.#pageMessages = pageMessages;
  }

  get top(): Log["top"] {
    return this.#log.top;
  }

  get onStored(): Log["onStored"] {
    return this.#log.onStored;
  }

  set onStored(onStored: (messages: readonly Message[]) => void) {
    this.#log.onStored = onStored;
  }

  get onRemoved(): Log["onRemoved"] {
    return this.#log.onRemoved;
  }

  set onRemoved(onRemoved: Log["onRemoved"]) {
    this.#log.onRemoved = onRemoved;
  }

  append(draft: Draft): Promise<Receipt> {
    return this.#log.append(draft);
  }

  remove(channel: string, id: MessageId): Promise<boolean> {
    return this.#log.remove(channel, id);
  }

  clear(channel: string): Promise<number> {
    return this.#log.clear(channel);
  }

  read(query: LogQuery): Promise<LogPage> {
    this.reads++;
    const read = () => this.#log.read({ ...query, limit: Math.min(query.limit, this.#pageMessages) });
    const early = this.late ? undefined : read();
    return new Promise((resolve) => this.#waiting.push(() => resolve(early ?? read())));
  }

  /** How many reads wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Lets the oldest read resolve. */
  release(): void {
    this.#waiting.shift()?.();
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#log[Symbol.asyncDispose]();
  }
}
