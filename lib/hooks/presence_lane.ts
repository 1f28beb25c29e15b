/**
 * Sends who comes and goes on a webhook's channels, in order. These events are of this moment and kept in memory: when the
 * node that sends them is replaced, or too many wait, a `gap` tells the target to ask for presence anew.
 */
import { Pause } from "../base/pause.ts";
import { listNames, matchesSelector, type Selector } from "../core/channel.ts";
import type { LogState } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import type { Presence, PresenceChange } from "../core/presence.ts";
import type { WebhookControl } from "./control.ts";
import { sleep } from "../base/sleep.ts";
import type { Target } from "./target.ts";
import type { WebhookEvent } from "./webhook_file.ts";

/** Events that may wait; beyond, they are dropped for a gap. */
const MAX_WAITING = 10_000;
/** Events in one request. */
const MAX_EVENTS = 100;
/** Pause after the engine failed, in milliseconds. */
const ENGINE_PAUSE_MILLISECONDS = 1_000;

const encoder = new TextEncoder();

export interface PresenceLaneOptions {
  readonly key: string;
  readonly selector: Selector;
  readonly events: ReadonlySet<WebhookEvent>;
  readonly target: Target;
  readonly presence: Presence;
  readonly state: LogState;
  readonly logger: Logger;
  readonly control: WebhookControl;
  leads(): boolean;
  untilLeading(): Promise<void>;
  readonly signal: AbortSignal;
}

interface Waiting {
  readonly json: string;
  /** Milliseconds since 1970. */
  readonly time: number;
}

export class PresenceLane {
  readonly #options: PresenceLaneOptions;
  #queue: Waiting[] = [];
  #isLeading = false;
  readonly #pause = new Pause();

  constructor(options: PresenceLaneOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Milliseconds since the oldest event that waits; 0 when none waits. */
  age(now: number): number {
    const [oldest] = this.#queue;
    return oldest === undefined ? 0 : Math.max(0, now - oldest.time);
  }

  /** Runs until the server stops; never rejects. */
  async run(): Promise<void> {
    const { signal, presence, leads, untilLeading, target, control } = this.#options;
    const stopObserving = presence.observe((change) => this.#notice(change));
    signal.addEventListener("abort", () => this.#pause.end());
    control.listen(() => this.#pause.end());
    while (!signal.aborted) {
      if (!leads()) {
        this.#isLeading = false;
        this.#queue = [];
        await untilLeading();
        continue;
      }
      if (!this.#isLeading) {
        this.#isLeading = true;
        await this.#takeOver();
      }
      const batch = this.#queue.slice(0, MAX_EVENTS);
      const [only] = batch;
      if (only === undefined || control.current.paused) {
        await this.#untilWoken();
        continue;
      }
      const text = batch.length === 1 ? only.json : `{"events":[${batch.map(({ json }) => json).join(",")}]}`;
      const body = encoder.encode(text);
      const delivery = { id: `${this.#options.key}-${crypto.randomUUID()}`, body, count: batch.length };
      // Meanwhile the queue may only grow, or be replaced by a gap.
      const queue = this.#queue;
      if (await target.deliver(delivery, () => leads() && !control.current.paused) && queue === this.#queue) {
        queue.splice(0, batch.length);
      }
    }
    stopObserving();
  }

  /** Tells the target that events may be missing, unless there were none before. */
  async #takeOver(): Promise<void> {
    const { state, key, signal, logger, control } = this.#options;
    while (!signal.aborted) {
      try {
        await control.refresh();
        const entry = await state.read(`${key}-presence`);
        if (entry !== undefined) this.#queue.unshift(this.#createGap("another process sent them until now"));
        else await state.write(`${key}-presence`, "{}", 0);
        return;
      } catch (error) {
        logger.write("warn", "webhook cannot read the engine", {
          hook: key,
          reason: error instanceof Error ? error.message : String(error),
        });
        await sleep(ENGINE_PAUSE_MILLISECONDS, signal);
      }
    }
  }

  #notice({ kind, channel, member }: PresenceChange): void {
    const { selector, events, presence } = this.#options;
    if (!this.#isLeading || !matchesSelector(selector, channel)) return;
    const isJoin = kind === "join";
    const ofClient = presence.countConnections(channel, member.id);
    const { connections } = presence.count(channel);
    const { id, name, user, info } = member;
    const happened: [WebhookEvent, boolean, object][] = [
      ["channel.occupied", isJoin && connections === 1, {}],
      ["member.joined", isJoin && ofClient === 1, { member: { id, name, user } }],
      ["member.left", !isJoin && ofClient === 0, { member: { id, name, user } }],
      ["channel.vacated", !isJoin && connections === 0, {}],
    ];
    const now = Date.now();
    for (const [type, isSo, more] of happened) {
      if (!isSo || !events.has(type)) continue;
      const head = JSON.stringify({ type, channel, time: new Date(now).toISOString(), ...more });
      // The info is JSON text already.
      const json = info === undefined || !("member" in more) ? head : `${head.slice(0, -2)},"info":${info}}}`;
      this.#add({ json, time: now });
    }
  }

  #add(event: Waiting): void {
    if (this.#queue.length < MAX_WAITING) this.#queue.push(event);
    else {
      this.#options.logger.write("warn", "webhook drops events", {
        hook: this.#options.key,
        reason: `${MAX_WAITING} wait for a target that does not take them`,
      });
      this.#queue = [this.#createGap("too many events waited"), event];
    }
    this.#pause.end();
  }

  #createGap(reason: string): Waiting {
    const time = Date.now();
    const channels = listNames(this.#options.selector);
    // Not "events", by which targets know a batch.
    const missing = [...this.#options.events].filter((event) => event !== "message" && event !== "gap");
    const gap = { type: "gap", channels, missing, reason, time: new Date(time).toISOString() };
    return { json: JSON.stringify(gap), time };
  }

  #untilWoken(): Promise<void> {
    if (this.#options.signal.aborted || (this.#queue.length > 0 && !this.#options.control.current.paused)) {
      return Promise.resolve();
    }
    return this.#pause.wait(ENGINE_PAUSE_MILLISECONDS);
  }
}
