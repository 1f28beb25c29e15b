/**
 * Removes from the stream what the log removed before: for every channel up to a record, so that what remains still
 * tells how many messages there were. Every node does this, and tells the others how far it came.
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Rules } from "../../core/rules.ts";
import type { Due, JetStreamChannel } from "./channel.ts";
import type { JetStreamState } from "./state.ts";
import type { JetStreamSubjects } from "./subject.ts";

/**
 * How long what was removed stays on the server: a node that was cut off for less has missed nothing when it is back.
 * Nodes wait up to half as long again, each as it falls, so that mostly one of them does the work.
 */
export const GRACE_MILLISECONDS = 120_000;
const TICK_MILLISECONDS = 1_000;
/** Channels looked at in one tick, and those emptied. */
const CHANNELS_PER_TICK = 10_000;
const PURGES_PER_TICK = 100;

export interface SweeperOptions {
  readonly stream: string;
  readonly subjects: JetStreamSubjects;
  readonly rules: Rules;
  readonly grace: number;
  readonly now: () => number;
  /** The state and the way to the server, while there is one. */
  current(): { readonly state: JetStreamState; readonly manager: JetStreamManager } | undefined;
  /** Stores a record without messages, to be the channel's newest. */
  anchor(channel: string): void;
  /** Tells the other nodes how far a channel was emptied. */
  tell(channel: string, record: number): void;
  onError(error: unknown): void;
}

export class JetStreamSweeper implements Disposable {
  readonly #options: SweeperOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  #next = 0;
  #running = false;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.sweep(), TICK_MILLISECONDS);
    Deno.unrefTimer(Number(this.#timer));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** Looks at the next channels, and empties those that have waited long enough. */
  async sweep(): Promise<void> {
    const current = this.#options.current();
    if (current === undefined || this.#running) return;
    this.#running = true;
    try {
      await this.#sweep(current.state, current.manager);
    } catch (error) {
      // The next tick tries again.
      this.#options.onError(error);
    } finally {
      this.#running = false;
    }
  }

  /** Takes note that another node emptied a channel. */
  notice(channel: string, record: number): void {
    const known = this.#options.current()?.state.get(channel);
    if (known === undefined) return;
    known.notePurged(record);
    if (known.due !== undefined && known.due.record <= record) settle(known);
  }

  async #sweep(state: JetStreamState, manager: JetStreamManager): Promise<void> {
    const { grace } = this.#options;
    const now = this.#options.now();
    state.forget(now);
    await this.#purgeClaims(state, manager, now);
    let purges = PURGES_PER_TICK;
    for (let i = Math.min(CHANNELS_PER_TICK, state.channels.length); i > 0 && purges > 0; i--) {
      if (this.#next >= state.channels.length) this.#next = 0;
      const channel = state.channels[this.#next++]!;
      state.expire(channel, now);
      if (channel.dead === 0) continue;
      const { firstRecord: record, dead } = channel;
      channel.due ??= { record, time: now + grace * (1 + Math.random() / 2), dead };
      if (channel.due.time > now) continue;
      purges--;
      await this.#empty(channel, channel.due, manager);
    }
  }

  async #empty(channel: JetStreamChannel, due: Due, manager: JetStreamManager): Promise<void> {
    const { subjects, anchor, tell, now } = this.#options;
    // The newest records stay for what they know: where nothing else comes, one without messages takes their place.
    if (channel.known + 1 < due.record && !channel.isAnchored) {
      anchor(channel.name);
      channel.due = { ...due, time: now() };
      return;
    }
    const goal = Math.min(due.record, channel.known + 1);
    const record = channel.findPurgeBound(goal);
    if (record > channel.purgedTo) await this.#purge(manager, subjects.messages(channel.name), record);
    channel.notePurged(record);
    if (record < goal) {
      // The next sweep sets a new goal: this one may lie between a keyed record and its duplicate.
      channel.due = undefined;
      return;
    }
    settle(channel);
    tell(channel.name, record);
  }

  /** Removes the claims that count no more; before them the stored messages that are known as duplicates by them. */
  async #purgeClaims(state: JetStreamState, manager: JetStreamManager, now: number): Promise<void> {
    const old = state.findOldClaims(now);
    if (old === undefined) return;
    for (const record of old.duplicates) await this.#delete(manager, record);
    await this.#purge(manager, `${this.#options.subjects.claims}>`, old.end);
    state.dropClaims(old.end);
  }

  /** Removes one record, unless another node already has. */
  async #delete(manager: JetStreamManager, record: number): Promise<void> {
    const { stream } = this.#options;
    try {
      await manager.streams.deleteMessage(stream, record, false);
    } catch (error) {
      if (await manager.streams.getMessage(stream, { seq: record }) !== null) throw error;
    }
  }

  /** Removes what a subject has before a record. */
  async #purge(manager: JetStreamManager, filter: string, seq: number): Promise<void> {
    // The server takes a 1 for no bound at all, and would remove everything.
    if (seq > 1) await manager.streams.purge(this.#options.stream, { filter, seq });
  }
}

function settle(channel: JetStreamChannel): void {
  channel.dead -= channel.due?.dead ?? 0;
  channel.due = undefined;
}
