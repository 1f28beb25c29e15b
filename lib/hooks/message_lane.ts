/**
 * Sends the stored messages of a webhook's channels, read from the engine by position: at least once, in order, across
 * restarts and from whichever node leads.
 *
 * Before a request is sent, the engine remembers which messages it covers. After a crash the same messages are sent again
 * under the same id, so that a target that drops repeated ids has every message once and in order.
 */
import type { Selector } from "../core/channel.ts";
import { matchesSelector } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { AsOf, Log, LogPage, LogState } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import { encodeMessageJson, formatId, type Message } from "../core/message.ts";
import { encodeProgress, parseProgress, type Progress } from "./progress.ts";
import { sleep, type Target } from "./target.ts";

/** What one request holds at most. Bodies stay below 100 KB where messages do, as many frameworks refuse larger ones. */
const MAX_MESSAGES = 100;
const MAX_BYTES = 32 * 1024;
/** Pause after the engine failed, in milliseconds. */
const ENGINE_PAUSE_MILLISECONDS = 1_000;
/** How often an idle lane looks whether it still leads, in milliseconds. */
const CHECK_MILLISECONDS = 1_000;
/** How far the position may move without a message of the hook before it is written, in sequences. */
const UNWRITTEN_SEQUENCES = 100_000;

export interface MessageLaneOptions {
  readonly key: string;
  readonly selector: Selector;
  readonly target: Target;
  readonly log: Pick<Log, "read" | "top">;
  readonly state: LogState;
  readonly logger: Logger;
  /** Whether this node is the one that sends. */
  leads(): boolean;
  /** Resolves once it may be, or the server stops. */
  untilLeading(): Promise<void>;
  readonly signal: AbortSignal;
}

/** The position in the engine, as this node last read or wrote it. */
interface Place {
  progress: Progress;
  revision: number;
  /** What was sent since it was written. */
  written: Progress;
  /** Gaps from before were reported already. */
  asOf: AsOf | undefined;
}

export class MessageLane {
  readonly #options: MessageLaneOptions;
  /** Resolves once the first position is known, or could not be had. */
  readonly started: Promise<void>;
  readonly #start: () => void;
  #waiting = 0;
  /** The time of the oldest message that was not taken, in milliseconds since 1970. */
  #oldest: number | undefined;
  #isLeading = false;
  #isFailing = false;
  #isWoken = false;
  #wake: () => void = () => {};

  constructor(options: MessageLaneOptions) {
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.started = promise;
    this.#start = resolve;
  }

  /** Messages not taken yet, as far as this process has seen them. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Milliseconds since the oldest message that waits was published; 0 when none waits. */
  age(now: number): number {
    return this.#oldest === undefined ? 0 : Math.max(0, now - this.#oldest);
  }

  /** Messages were stored. Quick: it is called with every batch. */
  notice(messages: readonly Message[]): void {
    if (!this.#isLeading) return;
    let found = 0;
    let last = "";
    let matches = false;
    for (const { sequence, channel, time } of messages) {
      if (channel !== last) matches = matchesSelector(this.#options.selector, channel);
      last = channel;
      if (sequence === 0 || !matches) continue;
      found++;
      this.#oldest ??= time;
    }
    if (found === 0) return;
    this.#waiting += found;
    this.#isWoken = true;
    this.#wake();
  }

  /** Runs until the server stops; never rejects. */
  async run(): Promise<void> {
    const { signal, leads, untilLeading } = this.#options;
    signal.addEventListener("abort", () => this.#wake());
    // Whoever comes first sets where to begin, whether it will send or not.
    await this.#attempt(() => this.#open());
    while (!signal.aborted) {
      this.#isLeading = leads();
      if (this.#isLeading) {
        await this.#attempt(async () => {
          const place = await this.#open();
          if (place !== undefined) await this.#lead(place);
        });
      } else {
        this.#isWoken = false;
        this.#forget();
        await untilLeading();
      }
    }
  }

  /** Does what takes the engine; where that fails, waits and leaves it to the next attempt. */
  async #attempt(action: () => Promise<unknown>): Promise<void> {
    const { signal, logger, key } = this.#options;
    try {
      await action();
      if (this.#isFailing) logger.write("info", "webhook uses the engine again", { hook: key });
      this.#isFailing = false;
      this.#start();
    } catch (error) {
      this.#start();
      if (signal.aborted) return;
      if (!this.#isFailing) {
        logger.write("error", "webhook cannot use the engine", { hook: key, reason: describe(error) });
      }
      this.#isFailing = true;
      await sleep(ENGINE_PAUSE_MILLISECONDS, signal);
    }
  }

  /** Reads the position, or sets it to now where there is none; undefined when another node was quicker. */
  async #open(): Promise<Place | undefined> {
    const { state, key, log } = this.#options;
    const entry = await state.read(key);
    if (entry !== undefined) {
      const progress = parseProgress(entry.value);
      return { progress, written: progress, revision: entry.revision, asOf: undefined };
    }
    const { epoch, sequence } = log.top;
    const progress = { epoch, sequence };
    const revision = await state.write(key, encodeProgress(progress), 0);
    return revision === undefined ? undefined : { progress, written: progress, revision, asOf: undefined };
  }

  /** Sends until the server stops or another node leads. */
  async #lead(place: Place): Promise<void> {
    const { signal, leads } = this.#options;
    while (!signal.aborted && leads()) {
      this.#isWoken = false;
      const page = await this.#read(place.progress, place.asOf);
      if (signal.aborted) return;
      const { messages } = page;
      if (place.progress.batch !== undefined && page.next.epoch !== place.progress.epoch) {
        // The engine lost messages: what that batch held is gone, and a gap says so.
        const { epoch, sequence } = place.progress;
        place.progress = { epoch, sequence };
        continue;
      }
      if (messages.length === 0 && page.kind === "complete") {
        const { batch } = place.progress;
        place.progress = { epoch: page.next.epoch, sequence: batch?.upTo ?? page.next.sequence };
        if (batch !== undefined) continue;
        this.#forget();
        if (this.#mustWrite(place) && !await this.#write(place)) return;
        await this.#untilWoken();
        continue;
      }
      const { epoch, sequence, batch } = place.progress;
      const upTo = batch?.upTo ?? page.next.sequence;
      const nextEpoch = batch === undefined ? page.next.epoch : epoch;
      if (batch === undefined) {
        place.progress = { epoch, sequence, batch: { upTo, count: messages.length } };
        if (!await this.#write(place)) return;
      }
      this.#oldest = messages[0]?.time ?? this.#oldest;
      this.#waiting = Math.max(this.#waiting, messages.length + (page.more ? 1 : 0));
      const id = `${this.#options.key}-${nextEpoch}-${sequence}-${upTo}`;
      const body = this.#encode(page, { epoch, sequence });
      const taken = await this.#options.target.deliver({ id, body, count: messages.length }, leads);
      if (!taken) return;
      this.#waiting = Math.max(0, this.#waiting - messages.length);
      this.#oldest = page.more ? messages.at(-1)?.time : undefined;
      place.progress = { epoch: nextEpoch, sequence: upTo };
      // Until the end is reached, pages would tell of the same gap again.
      const isCatchingUp = page.more && (page.kind === "gap" || place.asOf !== undefined);
      place.asOf = isCatchingUp ? page.next.asOf : undefined;
    }
  }

  /** Reads the next messages, or those of the request that may have been sent already. */
  async #read({ epoch, sequence, batch }: Progress, asOf: AsOf | undefined): Promise<LogPage> {
    const { log, selector } = this.#options;
    const after = { kind: "id", epoch, sequence, ...(asOf === undefined ? {} : { asOf }) } as const;
    if (batch === undefined) {
      return await log.read({ selector, after, limit: MAX_MESSAGES, maxBytes: MAX_BYTES });
    }
    const page = await log.read({ selector, after, limit: Math.max(1, batch.count) });
    const messages = page.messages.filter((message) => message.sequence <= batch.upTo);
    return { ...page, messages, more: true };
  }

  #encode(page: LogPage, after: { readonly epoch: string; readonly sequence: number }): string {
    const events = page.messages.map((message) => `{"type":"message",${encodeMessageJson(message).slice(1)}`);
    if (page.kind === "gap") {
      events.unshift(JSON.stringify({
        type: "gap",
        channels: this.#options.selector.key.split(" "),
        since: formatId(after.epoch, after.sequence),
        earliest: page.earliest,
        time: new Date().toISOString(),
      }));
    }
    const [only = "", ...others] = events;
    return others.length === 0 ? only : `{"events":[${events.join(",")}]}`;
  }

  #mustWrite({ progress, written }: Place): boolean {
    return written.batch !== undefined || written.epoch !== progress.epoch ||
      progress.sequence - written.sequence > UNWRITTEN_SEQUENCES;
  }

  /** Writes the position; false when another node has written it meanwhile. */
  async #write(place: Place): Promise<boolean> {
    const { state, key } = this.#options;
    const revision = await state.write(key, encodeProgress(place.progress), place.revision);
    if (revision === undefined) return false;
    place.revision = revision;
    place.written = place.progress;
    return true;
  }

  /** Resolves when messages were stored, the engine has another epoch, another node leads, or the server stops. */
  async #untilWoken(): Promise<void> {
    const { signal, leads, log } = this.#options;
    const { epoch } = log.top;
    while (!this.#isWoken && !signal.aborted && leads() && log.top.epoch === epoch) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, CHECK_MILLISECONDS);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  #forget(): void {
    if (this.#isWoken) return;
    this.#waiting = 0;
    this.#oldest = undefined;
  }
}

function describe(error: unknown): string {
  if (error instanceof MessagingError) return error.message;
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
