/**
 * The maps of all channels: what the messages that name a key have set it to last. Every node makes them of what the
 * hub delivers, and the engine's state keeps them whatever rules say of history. The hub owns one; protocols and the
 * API read it.
 */
import { Deadline } from "../../base/deadline.ts";
import { nextSlice } from "../../base/slices.ts";
import { sleep } from "../../base/sleep.ts";
import { createSteadyClock } from "../../base/steady_clock.ts";
import { selectChannel } from "../channel.ts";
import { MessagingError } from "../errors.ts";
import type { Cursor, Log, LogPage, LogState, Receipt } from "../log.ts";
import type { Logger } from "../logger.ts";
import { MemoryState } from "../memory_state.ts";
import { type Draft, isTransient, type Message, type Removal } from "../message.ts";
import type { Gauge } from "../metrics/metrics.ts";
import type { Rules } from "../rules.ts";
import { Agenda } from "../schedule/agenda.ts";
import type { Shares } from "../shares.ts";
import { ChannelMap } from "./channel_map.ts";
import type { Place } from "./map_entry.ts";
import { type MapLimits, MapRoom } from "./map_room.ts";
import { MapStore } from "./map_store.ts";

/**
 * Messages of a channel that are looked through at its first use: a server that was killed may not have kept them yet.
 */
const REPLAYED_MESSAGES = 1_000;
/** Bytes of them that are read at a time. */
const PAGE_BYTES = 1024 * 1024;
/** Maps without keys that are kept, so that they need not be looked up in the log again. */
const MAX_EMPTY_MAPS = 10_000;
/** Removed keys of a map that are remembered until older messages are known. */
const MAX_ENDED = 1_000;
/** Keys that are removed at once when their time is up. */
const MAX_EXPIRED = 256;
/** How long another node is given that set a key to remove it, and the pause after a failure, in milliseconds. */
const PATIENCE = 2_000;

export interface ChannelMapsOptions {
  readonly log: Pick<Log, "append" | "read" | "bus">;
  readonly rules: Rules;
  readonly state: LogState;
  readonly logger: Logger;
  readonly limits: MapLimits;
  /** How much of what all have one user or address may take; all if left out. */
  readonly shares?: Shares | undefined;
}

export class ChannelMaps implements AsyncDisposable {
  readonly #options: ChannelMapsOptions;
  readonly #store: MapStore;
  readonly #maps = new Map<string, ChannelMap>();
  /** The number of maps at which those without keys are dropped. */
  #dropAt = MAX_EMPTY_MAPS;
  readonly #room: MapRoom;
  /** The keys with a time to live, by when it ends. */
  readonly #agenda = new Agenda({ now: () => Date.now(), steadyNow: createSteadyClock() });
  readonly #deadline = new Deadline();
  #loading: Promise<void> | undefined;
  /** What was removed while the engine's state is being read, which may still bring keys of it; undefined at other times. */
  #early: Removal[] | undefined;
  readonly #stop = new AbortController();

  constructor(options: ChannelMapsOptions) {
    this.#options = options;
    this.#store = new MapStore(options.state, options.logger);
    this.#room = new MapRoom(options.limits, options.shares);
  }

  /** Waits for what is being written. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#deadline.clear();
    await this.#store[Symbol.asyncDispose]();
  }

  get gauges(): readonly Gauge[] {
    return [
      {
        name: "raindrops_map_keys",
        help: "Keys of the maps of all channels",
        kind: "gauge",
        ofProcess: true,
        read: () => this.#room.keys,
      },
      {
        name: "raindrops_map_bytes",
        help: "Bytes of their values, roughly",
        kind: "gauge",
        ofProcess: true,
        read: () => this.#room.bytes,
      },
    ];
  }

  /** Loads what the engine keeps, again and again while it cannot be reached, so that what has expired is removed. */
  async open(): Promise<void> {
    const { logger } = this.#options;
    while (!this.#stop.signal.aborted) {
      try {
        return await this.load();
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        logger.write("warn", "the keys of maps cannot be read, trying again", { reason });
        await sleep(PATIENCE, this.#stop.signal);
      }
    }
  }

  /**
   * Reads what the engine keeps. `find` waits for it.
   *
   * @throws {MessagingError} what reading the engine's state throws; another call tries again
   */
  load(): Promise<void> {
    return this.#loading ??= this.#load().catch((error) => {
      this.#loading = undefined;
      throw error;
    });
  }

  /** Takes what the hub delivers, in order. */
  observe(messages: readonly Message[]): void {
    for (const message of messages) {
      // Most messages have none.
      const key = message.properties?.key;
      if (key === undefined || message.sequence === 0) continue;
      const map = this.#mapOf(message.channel);
      this.#apply(map, message);
      if (message.properties?.removed === true && !map.isHeld(key)) {
        this.#store.release(map, key, message);
      }
      // Rather looked up now than remembered for ever.
      if (map.endedCount > MAX_ENDED) void this.find(message.channel).catch(() => {});
    }
  }

  /** Takes what was removed from a channel's history: what such a message had set is set no more. */
  forget(removal: Removal): void {
    this.#early?.push(removal);
    const { kind, channel, epoch, sequence } = removal;
    this.#forget(channel, (message) =>
      message.epoch === epoch &&
      (kind === "all" ? message.sequence <= sequence : message.sequence === sequence), removal);
  }

  /** Whether the engine keeps keys of a channel's map. @throws {MessagingError} like `load` */
  async hasKeys(channel: string): Promise<boolean> {
    await this.load();
    return (this.#maps.get(channel)?.size ?? 0) > 0;
  }

  /** Empties the map of a channel whose history was cleared, and resolves when the engine keeps nothing of it. */
  async clear(channel: string, top: Pick<Place, "epoch" | "sequence">): Promise<void> {
    await this.load();
    this.forget({ kind: "all", channel, offset: 0, ...top });
    await this.settled(channel);
  }

  /** Resolves when what is being written of a channel's map is kept. */
  async settled(channel: string): Promise<void> {
    const map = this.#maps.get(channel);
    if (map !== undefined) await this.#store.settled(map);
  }

  /** @throws {MessagingError} `not_available` where a rule leaves channels without maps */
  demand(channel: string): void {
    const { ephemeral, conflate } = this.#options.rules.for(channel);
    if (!ephemeral && !conflate) return;
    throw new MessagingError(
      "not_available",
      `"${channel}" has no keys: a rule makes it ${ephemeral ? "ephemeral" : "conflate"}`,
    );
  }

  /**
   * The map of a channel, with everything that was stored before; it stays up to date while it is watched.
   *
   * @throws {MessagingError} like `demand`, `log_unavailable`, `log_full`
   */
  async find(channel: string): Promise<ChannelMap> {
    this.demand(channel);
    await this.load();
    while (true) {
      const map = this.#mapOf(channel);
      map.ready ??= this.#replay(map).catch((error) => {
        map.ready = undefined;
        throw error;
      });
      await map.ready;
      // Without keys it may have been dropped meanwhile.
      if (this.#maps.get(channel) === map) return map;
    }
  }

  /**
   * Whether there is a key to remove: readers get it, or a publish of this node that sets it is under way. Of a key that is not
   * known here the engine is asked, as word of it may be on its way from another thread or node.
   *
   * @throws {MessagingError} like `find`
   */
  async has(channel: string, key: string): Promise<boolean> {
    const isKnown = (map: ChannelMap) => map.read(key) !== undefined || map.isBeingSet(key);
    if (isKnown(await this.find(channel))) return true;
    const { log } = this.#options;
    if (log.bus === undefined) return false;
    await log.read({
      selector: selectChannel(channel),
      after: { kind: "latest" },
      limit: 0,
      isCurrent: true,
    });
    return isKnown(await this.find(channel));
  }

  /**
   * Stores a message that sets or removes a key, and resolves when the engine keeps both the message and the key.
   *
   * @throws {MessagingError} like `find`, `too_many_keys`, `share_used_up`, and what the log rejects with
   */
  async append(draft: Draft): Promise<Receipt> {
    const { channel, properties = {} } = draft;
    const { key, removed } = properties;
    if (key === undefined) throw new TypeError("The draft names no key");
    const map = await this.find(channel);
    if (isTransient(draft)) {
      throw new MessagingError("bad_option", "What sets a key is stored: leave out ephemeral and to");
    }
    const free = removed === true ? undefined : this.#room.reserve(map, key, draft);
    const release = map.hold(key, removed !== true);
    try {
      const receipt = await this.#options.log.append(this.#complete(map, key, draft)).finally(free);
      if (!receipt.duplicate) await this.#store.save(map, key, receipt);
      // The first may be on its way still.
      else await this.#store.settled(map);
      return receipt;
    } finally {
      release();
    }
  }

  /** The draft with how long its key lives, or with the tags of the value that it removes. */
  #complete(map: ChannelMap, key: string, draft: Draft): Draft {
    const { properties = {}, channel, ttl } = draft;
    if (properties.removed === true) {
      const user = properties.user ?? map.get(key)?.message.properties?.user;
      return user === undefined ? draft : { ...draft, properties: { ...properties, user } };
    }
    const keyTtl = ttl ?? this.#options.rules.for(channel).keyTtl;
    return keyTtl === undefined ? draft : { ...draft, properties: { ...properties, keyTtl } };
  }

  async #load(): Promise<void> {
    this.#early ??= [];
    for await (const message of this.#store.load()) this.#apply(this.#mapOf(message.channel), message);
    const early = this.#early;
    this.#early = undefined;
    for (const removal of early) this.forget(removal);
  }

  /** Takes what may not have been kept when a server was killed. */
  async #replay(map: ChannelMap): Promise<void> {
    const { log } = this.#options;
    const selector = selectChannel(map.channel);
    const { position } = await log.read({ selector, after: { kind: "latest" }, limit: 0 });
    const offset = Math.max(0, position.offset - REPLAYED_MESSAGES);
    let page: LogPage | undefined;
    do {
      const after: Cursor = page?.next ?? { kind: "offset", offset };
      page = await log.read({ selector, after, limit: REPLAYED_MESSAGES, maxBytes: PAGE_BYTES });
      for (const message of page.messages) {
        const key = message.properties?.key;
        if (key === undefined || !this.#apply(map, message)) continue;
        // What fails is logged and tried again.
        void this.#store.save(map, key, message).catch(() => {});
      }
      if (page.more) await nextSlice();
    } while (page.more);
    map.settle();
  }

  #mapOf(channel: string): ChannelMap {
    let map = this.#maps.get(channel);
    if (map === undefined) {
      if (this.#maps.size >= this.#dropAt) this.#dropEmpty();
      this.#maps.set(channel, map = new ChannelMap(channel));
    }
    return map;
  }

  #dropEmpty(): void {
    for (const [channel, map] of this.#maps) if (map.isIdle) this.#maps.delete(channel);
    this.#dropAt = this.#maps.size + MAX_EMPTY_MAPS;
  }

  #apply(map: ChannelMap, message: Message): boolean {
    const key = message.properties!.key!;
    const known = map.get(key);
    if (!map.apply(message)) return false;
    if (known !== undefined) this.#room.free(known);
    const value = map.get(key);
    if (value !== undefined) this.#room.take(value);
    const id = agendaId(map, key);
    this.#agenda.remove(id);
    const expires = value?.expires ?? Infinity;
    if (expires < Infinity) {
      const due = expires + (map.isHeld(key) ? 0 : PATIENCE);
      const created = message.sequence;
      this.#agenda.add({ id, channel: map.channel, due, created, isRelative: false, bytes: 0 });
      this.#schedule();
    }
    return true;
  }

  #forget(
    channel: string,
    isGone: (message: Message) => boolean,
    by: Pick<Place, "epoch" | "sequence">,
  ): void {
    const map = this.#maps.get(channel);
    if (map === undefined) return;
    for (const value of map.forget(isGone)) {
      const key = value.message.properties!.key!;
      this.#room.free(value);
      this.#agenda.remove(agendaId(map, key));
      const { epoch, sequence } = by;
      // What fails is logged and tried again.
      void this.#store.save(map, key, { epoch, sequence, time: Date.now() }).catch(() => {});
    }
  }

  #schedule(): void {
    const { wait } = this.#agenda;
    if (wait < Infinity && !this.#stop.signal.aborted) {
      this.#deadline.set(Date.now() + wait, () => void this.#expireDue());
    }
  }

  /** Publishes the removal of keys whose time is up. Never rejects. */
  async #expireDue(): Promise<void> {
    const due = this.#agenda.takeDue(MAX_EXPIRED);
    // Not due again while it is under way.
    for (const { id } of due) this.#agenda.postpone(id, PATIENCE);
    this.#schedule();
    await Promise.all(due.map(async ({ id, channel }) => {
      const map = this.#mapOf(channel);
      const key = id.slice(channel.length + 1);
      try {
        await this.#expire(map, key);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        const reason = error instanceof Error ? error.message : String(error);
        this.#options.logger.write("warn", "a key is to expire, trying again", { channel, key, reason });
      }
    }));
  }

  async #expire(map: ChannelMap, key: string): Promise<void> {
    const { ephemeral, conflate } = this.#options.rules.for(map.channel);
    // A rule that came later leaves the channel without a map.
    if (ephemeral || conflate) return this.#agenda.remove(agendaId(map, key));
    await this.find(map.channel);
    const value = map.get(key);
    // A publish under way sets it anew.
    if (value === undefined) return this.#agenda.remove(agendaId(map, key));
    if (value.expires > Date.now() || map.isHeld(key)) return;
    const { epoch, sequence } = value.message;
    const release = map.hold(key);
    try {
      const receipt = await this.#options.log.append(this.#complete(map, key, {
        channel: map.channel,
        payload: { kind: "json", text: "null" },
        properties: { key, removed: true },
        // Other nodes remove it too.
        idempotencyKey: JSON.stringify(["map", key, epoch, sequence]),
        fingerprint: "expired",
      }));
      if (!receipt.duplicate) await this.#store.save(map, key, receipt);
    } finally {
      release();
    }
  }
}

/** Maps that are kept in memory alone, without bounds, for a hub that is given none. */
export function createMaps(
  { log, rules, logger }: Pick<ChannelMapsOptions, "log" | "rules" | "logger">,
): ChannelMaps {
  const limits = { maxMapKeys: Infinity, maxAllMapKeys: Infinity, maxMapBytes: Infinity };
  return new ChannelMaps({ log, rules, logger, limits, state: new MemoryState() });
}

/** No name of a channel has a line end. */
function agendaId({ channel }: ChannelMap, key: string): string {
  return `${channel}\n${key}`;
}
