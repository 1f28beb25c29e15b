/**
 * Sends the stored messages of a webhook's channels, read from the engine by position: at least once, in order, across
 * restarts and from whichever node leads.
 *
 * Before a request is sent, the engine remembers which messages it covers. After a crash the same messages are sent again
 * under the same id, so that a target that drops repeated ids has every message once and in order.
 */
import { Pause } from "../base/pause.ts";
import type { Selector } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { AsOf, Log, LogState } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import type { Message } from "../core/message.ts";
import { createMatcher } from "./channel_matcher.ts";
import type { WebhookControl } from "./control.ts";
import { LiveTail } from "./live_tail.ts";
import { encodePage, type Outgoing } from "./message_body.ts";
import { encodeProgress, parseProgress, type Progress } from "./progress.ts";
import { sleep } from "../base/sleep.ts";
import type { Target } from "./target.ts";

/**
 * What one request holds at most. Bodies stay below 100 KB where a message does, as many frameworks refuse larger ones.
 */
const MAX_MESSAGES = 500;
const MAX_BODY_BYTES = 96_000;
const LIMITS = { messages: MAX_MESSAGES, bytes: MAX_BODY_BYTES };
/** Bytes of payloads that are read from the engine for it. */
const MAX_READ_BYTES = 64 * 1024;
/** Pause after the engine failed, in milliseconds. */
const ENGINE_PAUSE_MILLISECONDS = 1_000;
/** How often an idle lane looks whether it still leads, in milliseconds. */
const CHECK_MILLISECONDS = 1_000;
/**
 * The shortest time from one request to the next, unless a full one waits, in milliseconds: a request costs as much as many
 * messages.
 */
const GATHERING_MILLISECONDS = 100;
/** How far the position may move without a message of the hook before it is written, in sequences. */
const UNWRITTEN_SEQUENCES = 100_000;

export interface MessageLaneOptions {
  readonly key: string;
  readonly selector: Selector;
  readonly target: Pick<Target, "deliver">;
  readonly log: Pick<Log, "read" | "top">;
  readonly state: LogState;
  readonly logger: Logger;
  readonly control: WebhookControl;
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
  /** See `Control.run`. */
  readonly run: number;
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
  readonly #pause = new Pause();
  readonly #tail = new LiveTail();
  readonly #matches: (channel: string) => boolean;
  /** When the last request was sent, by `performance.now()`. */
  #sentAt = -Infinity;
  readonly #gathering = new Pause();

  constructor(options: MessageLaneOptions) {
    this.#options = options;
    this.#matches = createMatcher(options.selector);
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
    const found = messages.filter(({ sequence, channel }) => sequence !== 0 && this.#matches(channel));
    if (found.length === 0) return;
    this.#oldest ??= found[0]!.time;
    this.#tail.note(found);
    this.#waiting += found.length;
    this.#isWoken = true;
    this.#pause.end();
    if (this.#isFull) this.#gathering.end();
  }

  /** Messages were removed on request: they are not sent any more, and the engine says what is missing. */
  noticeRemoval(): void {
    this.#tail.reset();
  }

  /** Runs until the server stops; never rejects. */
  async run(): Promise<void> {
    const { signal, leads, untilLeading } = this.#options;
    signal.addEventListener("abort", () => this.#pause.end());
    this.#options.control.listen(() => this.#pause.end());
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
        this.#tail.reset();
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

  /**
   * Reads the position; sets it to now where there is none, and to where an operator wants it sent again from. Undefined
   * when another node was quicker.
   */
  async #open(): Promise<Place | undefined> {
    const { state, key, log, control } = this.#options;
    const { run, from } = await control.refresh();
    const entry = await state.read(key);
    const known = entry && parseProgress(entry.value);
    if (entry !== undefined && known !== undefined && (known.run ?? 0) >= run) {
      return {
        progress: known,
        written: known,
        revision: entry.revision,
        run: known.run ?? 0,
        asOf: undefined,
      };
    }
    const { epoch, sequence } = known === undefined || from === undefined ? log.top : from;
    const progress = { epoch, sequence, run };
    const revision = await state.write(key, encodeProgress(progress), entry?.revision ?? 0);
    return revision === undefined
      ? undefined
      : { progress, written: progress, revision, run, asOf: undefined };
  }

  /** Whether it may send on from a place: nobody else leads, paused it, or told it to send from elsewhere. */
  #mayGoOn({ run }: Place): boolean {
    const { control: { current }, leads } = this.#options;
    return leads() && !current.paused && current.run <= run;
  }

  /** Sends until the server stops or another node leads. */
  async #lead(place: Place): Promise<void> {
    const { signal, leads, control } = this.#options;
    while (!signal.aborted && leads() && control.current.run <= place.run) {
      this.#isWoken = false;
      if (control.current.paused) {
        if (this.#mustWrite(place) && !await this.#write(place)) return;
        await this.#untilWoken(place);
        continue;
      }
      if (place.progress.batch === undefined) await this.#gather();
      const page = this.#readTail(place) ?? await this.#read(place.progress, place.asOf);
      if (signal.aborted) return;
      if (place.progress.batch === undefined && !page.more) this.#tail.follow(page.next);
      if (place.progress.batch !== undefined && page.next.epoch !== place.progress.epoch) {
        // The engine lost messages: what that batch held is gone, and a gap says so.
        const { epoch, sequence } = place.progress;
        place.progress = { epoch, sequence };
        continue;
      }
      if (page.count === 0 && page.kind === "complete") {
        const { batch } = place.progress;
        place.progress = { epoch: page.next.epoch, sequence: batch?.upTo ?? page.next.sequence };
        if (batch !== undefined) continue;
        this.#forget();
        if (this.#mustWrite(place) && !await this.#write(place)) return;
        await this.#untilWoken(place);
        continue;
      }
      const { epoch, sequence, batch } = place.progress;
      const upTo = batch?.upTo ?? page.next.sequence;
      const nextEpoch = batch === undefined ? page.next.epoch : epoch;
      if (batch === undefined) {
        place.progress = { epoch, sequence, batch: { upTo, count: page.count } };
        if (!await this.#write(place)) return;
      }
      this.#oldest = page.oldest ?? this.#oldest;
      // Those of the page may have come before this node sent.
      const later = Math.max(page.more ? 1 : 0, this.#tail.countAfter(upTo));
      this.#waiting = Math.max(this.#waiting, page.count + later);
      this.#sentAt = performance.now();
      const again = place.run === 0 ? "" : `-${place.run}`;
      const id = `${this.#options.key}-${nextEpoch}-${sequence}-${upTo}${again}`;
      const taken = await this.#options.target.deliver(
        { id, body: page.body, count: page.count },
        () => this.#mayGoOn(place),
      );
      if (!taken) return;
      this.#waiting = Math.max(0, this.#waiting - page.count);
      this.#tail.drop(upTo);
      this.#oldest = page.more ? page.newest : undefined;
      place.progress = { epoch: nextEpoch, sequence: upTo };
      // Until the end is reached, pages would tell of the same gap again.
      const isCatchingUp = page.more && (page.kind === "gap" || place.asOf !== undefined);
      place.asOf = isCatchingUp ? page.next.asOf : undefined;
    }
  }

  /** Whether as many messages wait as one request takes. */
  get #isFull(): boolean {
    return this.#waiting >= MAX_MESSAGES || this.#tail.fills(MAX_BODY_BYTES);
  }

  /** Waits a little for more messages when the last request was sent just now: few of them are gathered into one. */
  async #gather(): Promise<void> {
    const { signal } = this.#options;
    const rest = this.#sentAt + GATHERING_MILLISECONDS - performance.now();
    if (rest <= 0 || this.#waiting === 0 || this.#isFull || signal.aborted) return;
    await this.#gathering.wait(rest);
  }

  /** What was announced since the engine was last read to its end, if that is all there is. */
  #readTail({ progress, asOf }: Place): Outgoing | undefined {
    if (progress.batch !== undefined) return undefined;
    const isCurrent = asOf === undefined && this.#options.log.top.epoch === progress.epoch;
    const page = isCurrent ? this.#tail.read(progress, LIMITS) : undefined;
    if (page === undefined) this.#tail.start();
    return page;
  }

  /** Reads the next messages, or those of the request that may have been sent already. */
  async #read({ epoch, sequence, batch }: Progress, asOf: AsOf | undefined): Promise<Outgoing> {
    const { log, selector } = this.#options;
    const after = { kind: "id", epoch, sequence, ...(asOf === undefined ? {} : { asOf }) } as const;
    const shared = { selector, after: { epoch, sequence } };
    if (batch === undefined) {
      const page = await log.read({ selector, after, limit: MAX_MESSAGES, maxBytes: MAX_READ_BYTES });
      return encodePage(page, { ...shared, maxBytes: MAX_BODY_BYTES });
    }
    const page = await log.read({ selector, after, limit: Math.max(1, batch.count) });
    const messages = page.messages.filter((message) => message.sequence <= batch.upTo);
    // It is sent again as it was.
    return encodePage({ ...page, messages, more: true }, { ...shared, maxBytes: Infinity });
  }

  #mustWrite({ progress, written }: Place): boolean {
    return written.batch !== undefined || written.epoch !== progress.epoch ||
      progress.sequence - written.sequence > UNWRITTEN_SEQUENCES;
  }

  /** Writes the position; false when another node has written it meanwhile. */
  async #write(place: Place): Promise<boolean> {
    const { state, key } = this.#options;
    const revision = await state.write(
      key,
      encodeProgress({ ...place.progress, run: place.run }),
      place.revision,
    );
    if (revision === undefined) return false;
    place.revision = revision;
    place.written = place.progress;
    return true;
  }

  /**
   * Resolves when messages were stored, unless it is paused; when an operator tells it something else, the engine has
   * another epoch, another node leads, or the server stops.
   */
  async #untilWoken({ run }: Place): Promise<void> {
    const { signal, leads, log, control } = this.#options;
    const { epoch } = log.top;
    const { paused } = control.current;
    const isTold = () => control.current.paused !== paused || control.current.run > run;
    while (
      (paused || !this.#isWoken) && !isTold() && !signal.aborted && leads() && log.top.epoch === epoch
    ) {
      await this.#pause.wait(CHECK_MILLISECONDS);
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
