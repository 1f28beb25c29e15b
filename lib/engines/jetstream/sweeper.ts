/**
 * Purges from the stream what the engine has removed: in each channel up to a record, so that the remaining records
 * still tell the channel's offset. Every node does this, and tells the others what it purged.
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Rules } from "../../core/rules.ts";
import type { JetStreamChannel, PlannedPurge } from "./channel.ts";
import type { JetStreamState } from "./state.ts";
import type { JetStreamSubjects } from "./subject.ts";

/**
 * How long removed messages stay on the server: a node that was disconnected for less misses nothing. Each node adds a
 * random delay of up to half of this, so that usually only one of them does the work.
 */
export const GRACE_MILLISECONDS = 120_000;
const TICK_MILLISECONDS = 1_000;
/** Limits for one tick: channels to check, and channels to purge. */
const CHANNELS_PER_TICK = 10_000;
const PURGES_PER_TICK = 100;

export interface SweeperOptions {
  readonly stream: string;
  readonly subjects: JetStreamSubjects;
  readonly rules: Rules;
  readonly grace: number;
  readonly now: () => number;
  /** The clock for deadlines. */
  readonly steadyNow: () => number;
  /** The state and the server's API; undefined while the server is unreachable. */
  current(): { readonly state: JetStreamState; readonly manager: JetStreamManager } | undefined;
  /** Appends a record without messages, which becomes the channel's newest. */
  appendAnchor(channel: string): void;
  /** Tells the other nodes up to which record a channel was purged. */
  announcePurge(channel: string, record: number): void;
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

  /** Checks the next channels, and purges those whose grace period is over. */
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

  /** Notes that another node has purged a channel. */
  notePurged(channel: string, record: number): void {
    const known = this.#options.current()?.state.get(channel);
    if (known === undefined) return;
    known.notePurged(record);
    if (known.planned !== undefined && known.planned.record <= record) settlePurge(known);
  }

  async #sweep(state: JetStreamState, manager: JetStreamManager): Promise<void> {
    const { grace } = this.#options;
    const now = this.#options.steadyNow();
    await this.#forgetKeys(state, manager, state.readClock(this.#options.now()));
    let purges = PURGES_PER_TICK;
    const channels = state.all;
    const idle: JetStreamChannel[] = [];
    for (let i = Math.min(CHANNELS_PER_TICK, channels.length); i > 0 && purges > 0; i--) {
      if (this.#next >= channels.length) this.#next = 0;
      const channel = channels[this.#next++]!;
      state.expire(channel, now);
      if (channel.unpurged === 0) {
        if (state.mayForget(channel, now)) idle.push(channel);
        continue;
      }
      const { firstRecord: record, unpurged } = channel;
      channel.planned ??= { record, time: now + grace * (1 + Math.random() / 2), unpurged };
      if (channel.planned.time > now) continue;
      purges--;
      await this.#purgeChannel(channel, channel.planned, manager);
    }
    // They may have come back while others were purged.
    state.forget(idle.filter((channel) => state.mayForget(channel, now)));
  }

  async #purgeChannel(
    channel: JetStreamChannel,
    planned: PlannedPurge,
    manager: JetStreamManager,
  ): Promise<void> {
    const { subjects, appendAnchor, announcePurge, steadyNow } = this.#options;
    // The channel's offset is in the heads of its newest records. If none has followed, an anchor takes over.
    if (channel.known + 1 < planned.record && !channel.isAnchored) {
      appendAnchor(channel.name);
      channel.planned = { ...planned, time: steadyNow() };
      return;
    }
    const goal = Math.min(planned.record, channel.known + 1);
    const record = channel.findPurgeBound(goal);
    if (record > channel.purgedTo) await this.#purge(manager, subjects.messages(channel.name), record);
    channel.notePurged(record);
    if (record < goal) {
      // The next sweep plans anew: this goal may lie between a keyed record and its duplicate.
      channel.planned = undefined;
      return;
    }
    settlePurge(channel);
    announcePurge(channel.name, record);
  }

  /**
   * Forgets old keys, unless duplicates of them may still have to be applied: without its key, one counts as a message.
   */
  async #forgetKeys(state: JetStreamState, manager: JetStreamManager, clock: number): Promise<void> {
    if (!state.hasOldKeys(clock)) return;
    const { last_seq } = (await manager.streams.info(this.#options.stream)).state;
    // An answer that knows less than this node does says nothing of what is still to come.
    if (state.processed !== last_seq) return;
    state.forgetOldKeys(clock);
    await this.#purgeClaims(state, manager, clock);
  }

  /** Purges old claims, after deleting the stored messages that only these claims mark as duplicates. */
  async #purgeClaims(state: JetStreamState, manager: JetStreamManager, clock: number): Promise<void> {
    const old = state.findOldClaims(clock);
    if (old === undefined) return;
    for (const record of old.duplicates) await this.#delete(manager, record);
    await this.#purge(manager, `${this.#options.subjects.claims}>`, old.end);
    state.dropClaims(old.end);
  }

  /** Deletes one record, unless another node already has. */
  async #delete(manager: JetStreamManager, record: number): Promise<void> {
    const { stream } = this.#options;
    try {
      await manager.streams.deleteMessage(stream, record, false);
    } catch (error) {
      if (await manager.streams.getMessage(stream, { seq: record }) !== null) throw error;
    }
  }

  /** Purges the records of a subject before a sequence. */
  async #purge(manager: JetStreamManager, filter: string, seq: number): Promise<void> {
    // The server treats 1 as no limit, and would purge everything.
    if (seq > 1) await manager.streams.purge(this.#options.stream, { filter, seq });
  }
}

function settlePurge(channel: JetStreamChannel): void {
  channel.unpurged -= channel.planned?.unpurged ?? 0;
  channel.planned = undefined;
}
