/**
 * Messages that are published later: kept in the engine's state, sent by one of the nodes that share it when they are
 * due. Protocols and the API schedule and cancel them, the inspector lists them. `app.ts` opens it.
 */
import { Pause } from "../../base/pause.ts";
import { nextSlice } from "../../base/slices.ts";
import { createSteadyClock } from "../../base/steady_clock.ts";
import { sleep } from "../../base/sleep.ts";
import { utf8Length } from "../../base/utf8.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { Leadership } from "../cluster/leadership.ts";
import { MessagingError } from "../errors.ts";
import type { Hub } from "../hub.ts";
import type { Log, LogState } from "../log.ts";
import type { Logger } from "../logger.ts";
import { checkSize } from "../draft.ts";
import { type Draft, encodePayloadJson } from "../message.ts";
import type { Gauge } from "../metrics/metrics.ts";
import { Pool } from "../pool.ts";
import type { Rules } from "../rules.ts";
import { Shares } from "../shares.ts";
import {
  createId,
  demandRoom,
  describeMissing,
  digestOf,
  findDue,
  isId,
  type ScheduleLimits,
} from "./admission.ts";
import { Agenda, type Item } from "./agenda.ts";
import { encodeEntry, type Entry, idOfMarker, KEY_PREFIX, MARKER_PREFIX, parseEntry } from "./entry.ts";
import { removeMarker, sendScheduled } from "./sending.ts";
import type { When } from "./when.ts";

export interface SchedulerOptions {
  readonly hub: Hub;
  readonly log: Log;
  /** That of the log, where it has one: it holds the markers of its messages. */
  readonly state: LogState;
  readonly rules: Rules;
  readonly cluster: Cluster | undefined;
  readonly logger: Logger;
  readonly limits: ScheduleLimits;
  /** How much of it one user or address may take; all if left out. */
  readonly shares?: Shares;
  /** The system's clock, in milliseconds since 1970. */
  readonly now?: () => number;
  /** A clock that does not jump. */
  readonly steadyNow?: () => number;
}

/** What a publisher is told. */
export interface Scheduled {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly due: number;
}

/** Messages that are sent side by side. */
const CONCURRENCY = 64;
/** The longest time until the clock is looked at again, as somebody may set it. */
const TICK_MILLISECONDS = 1_000;
/** How often a node that does not send looks whether it is to, in milliseconds. */
const CHECK_MILLISECONDS = 250;
/** How often a node reads all entries, in case it was not told of some. */
const REREAD_MILLISECONDS = 60_000;
const FIRST_PAUSE_MILLISECONDS = 500;
const LONGEST_PAUSE_MILLISECONDS = 60_000;
/** The call by which nodes tell each other what is scheduled, and what no more. */
const CALL = "schedule.change";

/** What nodes tell each other. */
interface Change {
  readonly added: readonly { readonly item: Item; readonly remaining: number }[];
  readonly removed: readonly string[];
}

export class Scheduler implements AsyncDisposable {
  readonly #options: SchedulerOptions;
  readonly #now: () => number;
  readonly #pool: Pool;
  readonly #agenda: Agenda;
  readonly #leadership: Leadership;
  readonly #stop = new AbortController();
  readonly #failures = new Map<string, { count: number; reason: string }>();
  readonly #running: Promise<void>;
  /** Changed while the entries are being read. */
  #touched: Set<string> | undefined;
  #lastCreated = 0;
  #readAt: number | undefined;
  #isFailing = false;
  #sent = 0;
  #failed = 0;
  readonly #pause = new Pause();

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    const { maxScheduled: maxCount, maxScheduledBytes: maxBytes } = options.limits;
    this.#pool = new Pool({ maxCount, maxBytes, shares: options.shares ?? new Shares() });
    const steadyNow = options.steadyNow ?? createSteadyClock();
    this.#agenda = new Agenda({ now: this.#now, steadyNow }, this.#pool);
    const { hub, log, cluster } = options;
    this.#leadership = new Leadership(hub, log.bus?.isLocal ?? true, this.#stop.signal);
    this.#stop.signal.addEventListener("abort", () => this.#pause.end());
    cluster?.handle(CALL, (body) => this.#hear(body as Change));
    this.#running = this.#run();
  }

  /**
   * Keeps a message and publishes it when it is due.
   *
   * @param draft checked; its idempotency key makes it be scheduled once
   * @param publisher who schedules it, as `Pass.publisher` says
   * @param owner whose share it counts for, as `Shares.ownerOf` says
   * @returns its id and when it is due, once the engine has it
   * @throws {MessagingError} `bad_option` or `too_far_ahead` for a time that cannot be, `too_many_scheduled`,
   * `share_used_up`, `too_large`, `key_reused`, `not_available` where nothing may be scheduled, and what the engine
   * rejects with
   */
  async schedule(draft: Draft, when: When, publisher: string, owner?: string): Promise<Scheduled> {
    const { hub, state, limits, log } = this.#options;
    if (hub.draining) throw new MessagingError("draining", "The server is restarting: try again in a moment");
    if (limits.maxScheduled === 0) {
      throw new MessagingError("not_available", "No messages are scheduled here: raise --max-scheduled");
    }
    if (draft.to === undefined) hub.checkName(draft.channel);
    if (draft.properties?.key !== undefined) hub.maps.demand(draft.channel);
    checkSize(draft.payload, limits.maxMessageBytes);
    const now = this.#now();
    const due = findDue(when, now, limits);
    const { idempotencyKey, fingerprint, socketId: _, ...content } = draft;
    const id = idempotencyKey === undefined
      ? createId()
      : await digestOf(JSON.stringify([draft.channel, idempotencyKey]));
    const digest = await digestOf(JSON.stringify([fingerprint ?? id, encodePayloadJson(draft.payload)]));
    const created = this.#lastCreated = Math.max(now, this.#lastCreated + 1);
    const isRelative = when.kind === "delay";
    const value = encodeEntry({ draft: content, due, created, isRelative, publisher, owner, digest });
    const bytes = utf8Length(value);
    if (bytes > (log.bus?.maxBytes ?? Infinity)) {
      throw new MessagingError("too_large", `The message takes ${bytes} bytes, more than the engine keeps`);
    }
    const place = { owner, bytes };
    if (!this.#agenda.has(id)) demandRoom(this.#pool, place);
    // Those that come while it is written find it counted.
    this.#pool.add(place);
    const revision = await state.write(KEY_PREFIX + id, value, 0).finally(() => this.#pool.remove(place));
    if (revision === undefined) return await this.#findSame(id, draft.channel, digest);
    const item: Item = { id, channel: draft.channel, due, isRelative, created, bytes, owner };
    const remaining = when.kind === "delay" ? when.milliseconds : due - now;
    this.#add(item, remaining);
    this.#tell({ added: [{ item, remaining }], removed: [] });
    return { id, due };
  }

  /** Reads a scheduled message; undefined if there is none with this id. */
  async find(id: string): Promise<Entry | undefined> {
    if (!isId(id)) return undefined;
    const stored = await this.#options.state.read(KEY_PREFIX + id);
    return stored === undefined ? undefined : parseEntry(stored.value);
  }

  /**
   * Cancels a scheduled message.
   *
   * @throws {MessagingError} `not_found` if it was sent, is being sent, was cancelled, or never was; and what the
   * engine rejects with
   */
  async cancel(id: string): Promise<void> {
    const key = KEY_PREFIX + id;
    const stored = isId(id) ? await this.#options.state.read(key) : undefined;
    const isOpen = stored !== undefined && parseEntry(stored.value).attempt === undefined;
    if (!isOpen || !await this.#options.state.delete(key, stored.revision)) throw describeMissing();
    this.#remove(id);
    this.#tell({ added: [], removed: [id] });
  }

  /** What is scheduled, the next one due first, with why it could not be sent so far. */
  list(): readonly (Item & { readonly failure: string | undefined })[] {
    return this.#agenda.list().map((item) => ({ ...item, failure: this.#failures.get(item.id)?.reason }));
  }

  /** What `/metrics` tells. */
  get gauges(): readonly Gauge[] {
    return [
      {
        name: "raindrops_scheduled_messages",
        help: "Messages that are scheduled for later, on all nodes",
        kind: "gauge",
        ofProcess: true,
        read: () => this.#agenda.size,
      },
      {
        name: "raindrops_scheduled_late_seconds",
        help: "How late the most overdue scheduled message is",
        kind: "gauge",
        ofProcess: true,
        read: () => this.#agenda.lateness / 1_000,
      },
      {
        name: "raindrops_scheduled_sent_total",
        help: "Scheduled messages that this process published",
        kind: "counter",
        read: () => this.#sent,
      },
      {
        name: "raindrops_scheduled_failures_total",
        help: "Attempts of this process to publish a scheduled message that failed",
        kind: "counter",
        read: () => this.#failed,
      },
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** The message that was scheduled under this key before. */
  async #findSame(id: string, channel: string, digest: string): Promise<Scheduled> {
    const entry = await this.find(id);
    if (entry === undefined) {
      throw new MessagingError("log_unavailable", "The message was being sent at this moment: try again");
    }
    if (entry.digest === digest) return { id, due: entry.due };
    throw new MessagingError(
      "key_reused",
      `Another message is scheduled on ${JSON.stringify(channel)} with this idempotency key: ` +
        "send a key of its own with each message, and repeat a message unchanged",
    );
  }

  /** Runs until the server stops; never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { leads } = this.#leadership;
    let isLeading = false;
    while (!signal.aborted) {
      try {
        const mustRead = this.#readAt === undefined || (leads() && !isLeading) ||
          (this.#options.cluster !== undefined && performance.now() - this.#readAt > REREAD_MILLISECONDS);
        if (mustRead) await this.#readAll();
        isLeading = leads();
        const due = this.#mayGoOn() ? this.#agenda.takeDue(CONCURRENCY) : [];
        if (due.length > 0) await this.#sendAll(due);
        else if (this.#mayGoOn()) await this.#untilDue();
        else await sleep(CHECK_MILLISECONDS, signal);
      } catch (error) {
        if (signal.aborted) return;
        const reason = describe(error);
        if (!this.#isFailing) {
          this.#options.logger.write("error", "cannot read what is scheduled", { reason });
        }
        this.#isFailing = true;
        await sleep(FIRST_PAUSE_MILLISECONDS, signal);
      }
    }
  }

  #mayGoOn(): boolean {
    return !this.#stop.signal.aborted && !this.#options.hub.draining && this.#leadership.leads();
  }

  /** Reads all entries of the engine. */
  async #readAll(): Promise<void> {
    const { state, logger } = this.#options;
    const touched = this.#touched = new Set<string>();
    const found = new Set<string>();
    // Read before the entries: one without an entry is of a message that was sent.
    const markers: string[] = [];
    try {
      if (this.#leadership.leads()) {
        for await (const { key } of state.list(MARKER_PREFIX)) markers.push(key);
      }
      for await (const { key, value } of state.list(KEY_PREFIX)) {
        const id = key.slice(KEY_PREFIX.length);
        found.add(id);
        if (touched.has(id)) continue;
        const item = readItem(id, value);
        if (item === undefined) logger.write("warn", "a scheduled message is not understood", { id });
        else this.#agenda.add(item);
      }
    } finally {
      this.#touched = undefined;
    }
    for (const id of this.#agenda.ids()) {
      if (!found.has(id) && !touched.has(id)) this.#remove(id);
    }
    for (const marker of markers) if (!found.has(idOfMarker(marker))) await removeMarker(state, marker);
    this.#readAt = performance.now();
    if (this.#isFailing) logger.write("info", "what is scheduled can be read again", {});
    this.#isFailing = false;
  }

  /** Sends what is due: in order on each channel, channels side by side. */
  async #sendAll(items: readonly Item[]): Promise<void> {
    const lanes = Map.groupBy(items, ({ channel }) => channel);
    const done = (await Promise.all([...lanes.values()].map((lane) => this.#sendLane(lane)))).flat();
    if (done.length > 0) this.#tell({ added: [], removed: done });
  }

  async #sendLane(items: readonly Item[]): Promise<readonly string[]> {
    const done: string[] = [];
    for (const { id } of items) {
      // Much may be due at the same moment.
      await nextSlice();
      if (!this.#mayGoOn()) break;
      if (await this.#send(id)) done.push(id);
    }
    return done;
  }

  /** Sends one; true when it is scheduled no more. */
  async #send(id: string): Promise<boolean> {
    const { hub, state, rules, logger } = this.#options;
    try {
      const publish = (draft: Draft) => hub.publish(draft);
      const outcome = await sendScheduled(id, { state, rules, now: this.#now, publish });
      if (outcome.kind === "taken") {
        this.#agenda.postpone(id, FIRST_PAUSE_MILLISECONDS);
        return false;
      }
      if (outcome.kind === "sent") this.#sent++;
      if (outcome.kind === "dropped") {
        this.#failed++;
        logger.write("warn", "scheduled message dropped", { id, reason: outcome.reason });
      }
      this.#remove(id);
      return true;
    } catch (error) {
      this.#failed++;
      const reason = describe(error);
      const { count = 0 } = this.#failures.get(id) ?? {};
      const pause = Math.min(FIRST_PAUSE_MILLISECONDS * 2 ** Math.min(count, 10), LONGEST_PAUSE_MILLISECONDS);
      if (!this.#stop.signal.aborted) {
        logger.write("warn", "scheduled message failed", { id, reason, retryIn: `${pause / 1_000}s` });
      }
      this.#failures.set(id, { count: count + 1, reason });
      this.#agenda.postpone(id, pause);
      return false;
    }
  }

  /** Resolves when something may be due, the server stops, or another node may lead. */
  async #untilDue(): Promise<void> {
    const { wait } = this.#agenda;
    const isIdle = wait === Infinity && this.#options.log.bus === undefined;
    if (this.#stop.signal.aborted || wait <= 0) return;
    await this.#pause.wait(isIdle ? Infinity : Math.min(wait, TICK_MILLISECONDS));
  }

  #add(item: Item, remaining: number): void {
    this.#touched?.add(item.id);
    this.#agenda.add(item, remaining);
    this.#pause.end();
  }

  #remove(id: string): void {
    this.#touched?.add(id);
    this.#agenda.remove(id);
    this.#failures.delete(id);
  }

  /** Tells the other nodes; one that does not hear it reads it from the engine later. */
  #tell(change: Change): void {
    const { cluster, logger } = this.#options;
    cluster?.callAll(CALL, change).catch((error) => {
      logger.write("debug", "nodes were not told what is scheduled", { reason: describe(error) });
    });
  }

  #hear({ added, removed }: Change): null {
    for (const { item, remaining } of added) this.#add(item, remaining);
    for (const id of removed) this.#remove(id);
    return null;
  }
}

function readItem(id: string, value: string): Item | undefined {
  try {
    const { draft: { channel }, due, isRelative, created, owner } = parseEntry(value);
    return { id, channel, due, isRelative, created, bytes: utf8Length(value), owner };
  } catch {
    return undefined;
  }
}

function describe(error: unknown): string {
  if (error instanceof MessagingError) return error.message;
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
