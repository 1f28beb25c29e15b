/**
 * Sends the webhooks of a protocol: changes of its facts, and its queued events, at least once and in order, across
 * restarts and from whichever node leads.
 *
 * The engine keeps the facts that the target was told, so that a sender which takes over can send the difference to the
 * present ones. The content of a request is written to the engine before it is sent: after a crash it is sent again, as
 * nobody knows whether it arrived.
 */
import { Pause } from "../base/pause.ts";
import type { QueuedEvents } from "../core/event_queue.ts";
import type { LogState } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import type { ProtocolWebhook } from "../core/protocol_webhook.ts";
import { sleep } from "../base/sleep.ts";
import type { WebhookControl } from "./control.ts";
import { FactChanges } from "./fact_changes.ts";
import type { Target } from "./target.ts";
import { type FactChange, ToldFacts } from "./told_facts.ts";

/** What one request holds at most; a single entry of the queue may hold more. */
const MAX_EVENTS = 100;
/** A change takes two events at most. */
const MAX_CHANGES = MAX_EVENTS / 2;
const MAX_BYTES = 64 * 1024;
/** Entries of the queue that may wait for a target; beyond, the oldest are lost. The present facts are always told. */
const MAX_ENTRIES = 10_000;
/** Entries of the queue that are read at once. */
const READ_ENTRIES = 32;
/** The shortest time from one request to the next, in milliseconds: a request costs as much as many events. */
const GATHERING_MILLISECONDS = 50;
/** How often the whole queue is listed, in case an entry was not heard of. */
const RELIST_MILLISECONDS = 30_000;
const ENGINE_PAUSE_MILLISECONDS = 1_000;
const CHECK_MILLISECONDS = 1_000;

export interface ProtocolLaneOptions {
  readonly webhook: ProtocolWebhook;
  readonly target: Pick<Target, "deliver">;
  readonly state: LogState;
  readonly logger: Logger;
  readonly control: WebhookControl;
  /** Whether this node is the one that sends. */
  leads(): boolean;
  /** Resolves once it may be, or the server stops. */
  untilLeading(): Promise<void>;
  readonly signal: AbortSignal;
}

/** What one request tells. */
interface Batch {
  readonly events: readonly string[];
  readonly changes: readonly FactChange[];
  readonly entries: readonly QueuedEvents[];
}

/** A batch, as the engine remembers it while it is being sent. */
interface Sending {
  readonly changes: readonly FactChange[];
  readonly entries: readonly string[];
}

const NOTHING: Sending = { changes: [], entries: [] };

export class ProtocolLane {
  readonly #options: ProtocolLaneOptions;
  readonly #key: string;
  readonly #told: ToldFacts;
  readonly #changes: FactChanges;
  /** The entries of what has happened and was not told, the oldest first. */
  readonly #queue = new Set<string>();
  #isTrimming = false;
  #listedAt = 0;
  /** The revision of what the engine remembers as being sent, and whether it remembers anything. */
  #revision = 0;
  #isSending = false;
  #isLeading = false;
  #isFailing = false;
  #isWoken = false;
  readonly #pause = new Pause();
  #sentAt = -Infinity;
  #count = 0;
  /** Since when something waits, in milliseconds since 1970. */
  #waitingSince: number | undefined;

  constructor(options: ProtocolLaneOptions) {
    this.#options = options;
    const { logger, webhook: { name, facts } } = options;
    this.#key = `${name}-sending`;
    this.#told = new ToldFacts(options.state, name);
    this.#changes = new FactChanges({
      facts,
      told: this.#told,
      onReady: () => this.#wakeUp(),
      onOverflow() {
        const reason = "too many wait for a target that does not take them";
        logger.write("warn", "webhook tells only what came of changes", { hook: name, reason });
      },
    });
  }

  /** Changes and entries of events that wait, as far as this process has seen them. */
  get waiting(): number {
    return this.#changes.waiting + this.#queue.size;
  }

  /** Milliseconds since something waits that could be sent; 0 when nothing does. */
  age(now: number): number {
    return this.#waitingSince === undefined ? 0 : Math.max(0, now - this.#waitingSince);
  }

  /** Runs until the server stops; never rejects. */
  async run(): Promise<void> {
    const { signal, webhook: { happened }, leads, untilLeading, control } = this.#options;
    const stopWatching = this.#changes.watch();
    happened.listen((key) => {
      if (!this.#isLeading) return;
      this.#queue.add(key);
      if (this.#queue.size > MAX_ENTRIES) void this.#trim();
      this.#wakeUp();
    });
    signal.addEventListener("abort", () => this.#wakeUp());
    control.listen(() => this.#wakeUp());
    while (!signal.aborted) {
      this.#isLeading = leads();
      if (this.#isLeading) await this.#attempt();
      else {
        this.#reset();
        await untilLeading();
      }
    }
    stopWatching();
  }

  #reset(): void {
    this.#changes.follow();
    this.#queue.clear();
    this.#waitingSince = undefined;
  }

  /** Sends, as long as this node leads and the engine can be used. */
  async #attempt(): Promise<void> {
    const { signal, logger, webhook: { name } } = this.#options;
    try {
      const unfinished = await this.#open();
      if (this.#isFailing) logger.write("info", "webhook uses the engine again", { hook: name });
      this.#isFailing = false;
      this.#changes.lead(unfinished?.changes ?? []);
      await this.#lead(unfinished);
    } catch (error) {
      if (signal.aborted) return;
      const reason = error instanceof Error ? error.message : String(error);
      if (!this.#isFailing) logger.write("error", "webhook cannot use the engine", { hook: name, reason });
      this.#isFailing = true;
      await sleep(ENGINE_PAUSE_MILLISECONDS, signal);
    }
  }

  /** Reads what was told, and finds what is different by now. Returns what another process may or may not have told. */
  async #open(): Promise<Batch | undefined> {
    const { state, webhook: { facts }, control } = this.#options;
    this.#reset();
    await control.refresh();
    const entry = await state.read(this.#key);
    await this.#told.load();
    await this.#listQueue();
    this.#revision = entry?.revision ?? 0;
    const { changes, entries }: Sending = entry === undefined ? NOTHING : JSON.parse(entry.value);
    this.#isSending = changes.length + entries.length > 0;
    const untold = changes.filter(({ key, after }) => (this.#told.find(key) ?? null) !== after);
    const queued = await this.#read(entries);
    for (const key of entries) this.#queue.delete(key);
    const events = [
      ...untold.flatMap(({ key, before, after }) =>
        facts.describe(key, before ?? undefined, after ?? undefined)
      ),
      ...queued.flatMap(({ events }) => events),
    ];
    return events.length === 0 ? undefined : { events, changes: untold, entries: queued };
  }

  async #listQueue(): Promise<void> {
    this.#listedAt = performance.now();
    for (const key of await this.#options.webhook.happened.listKeys()) this.#queue.add(key);
  }

  /** Reads entries; those that are there no more are left out. */
  async #read(keys: readonly string[]): Promise<readonly QueuedEvents[]> {
    const { happened } = this.#options.webhook;
    const entries = await Promise.all(keys.map((key) => happened.read(key)));
    return entries.filter((entry) => entry !== undefined);
  }

  /** The oldest entries of the queue. */
  async #readNext(): Promise<readonly QueuedEvents[]> {
    if (performance.now() - this.#listedAt > RELIST_MILLISECONDS) await this.#listQueue();
    const keys = this.#queue.values().take(READ_ENTRIES).toArray();
    const entries = await this.#read(keys);
    const found = new Set(entries.map(({ key }) => key));
    for (const key of keys) if (!found.has(key)) this.#queue.delete(key);
    return entries;
  }

  /** Drops the oldest entries that are too many. */
  async #trim(): Promise<void> {
    if (this.#isTrimming) return;
    this.#isTrimming = true;
    const { webhook: { happened, name }, logger } = this.#options;
    let lost = 0;
    try {
      while (this.#queue.size > MAX_ENTRIES) {
        const [key = ""] = this.#queue;
        this.#queue.delete(key);
        const entry = await happened.read(key);
        if (entry === undefined) continue;
        await happened.remove(entry);
        lost += entry.events.length;
      }
    } catch {
      // What sends says that the engine fails; the entries are found again.
    } finally {
      this.#isTrimming = false;
    }
    const reason = "too many wait for a target that does not take them";
    if (lost > 0) logger.write("error", "webhook lost events", { hook: name, lost, reason });
  }

  /** Sends until the server stops, another node leads, or another one has sent meanwhile. */
  async #lead(unfinished: Batch | undefined): Promise<void> {
    const { signal, leads, control } = this.#options;
    let batch = unfinished;
    while (!signal.aborted && leads()) {
      this.#isWoken = false;
      if (!control.current.paused) {
        await this.#gather();
        batch ??= this.#take(await this.#readNext());
        if (batch !== undefined) {
          if (!await this.#remember(batch)) return;
          // Without an answer it is kept: perhaps the webhook was paused.
          if (!await this.#deliver(batch)) continue;
          if (!await this.#settle(batch)) return;
          batch = undefined;
          continue;
        }
        if (this.#isSending && !await this.#remember(undefined)) return;
      }
      await this.#untilWoken(CHECK_MILLISECONDS);
    }
  }

  async #gather(): Promise<void> {
    const rest = this.#sentAt + GATHERING_MILLISECONDS - performance.now();
    if (rest > 0) await sleep(rest, this.#options.signal);
  }

  /** The next batch; undefined where there is none yet. */
  #take(queued: readonly QueuedEvents[]): Batch | undefined {
    const { facts } = this.#options.webhook;
    const changes = this.#changes.take(MAX_CHANGES);
    const events = changes.flatMap(({ key, before, after }) =>
      facts.describe(key, before ?? undefined, after ?? undefined)
    );
    const entries: QueuedEvents[] = [];
    let bytes = events.reduce((sum, { length }) => sum + length, 0);
    for (const entry of queued) {
      bytes += entry.events.reduce((sum, { length }) => sum + length, 0);
      const fits = events.length + entry.events.length <= MAX_EVENTS && bytes <= MAX_BYTES;
      if (events.length > 0 && !fits) break;
      this.#queue.delete(entry.key);
      entries.push(entry);
      events.push(...entry.events);
    }
    return changes.length + entries.length === 0 ? undefined : { events, changes, entries };
  }

  /** Writes what is about to be sent, or nothing; false when another node has written meanwhile. */
  async #remember(batch: Batch | undefined): Promise<boolean> {
    const sending: Sending = batch === undefined
      ? NOTHING
      : { changes: batch.changes, entries: batch.entries.map(({ key }) => key) };
    const revision = await this.#options.state.write(this.#key, JSON.stringify(sending), this.#revision);
    if (revision === undefined) return false;
    this.#revision = revision;
    this.#isSending = batch !== undefined;
    return true;
  }

  /** Sends a batch until it is taken; false if the server stops, another node leads, or the webhook is paused. */
  async #deliver({ events }: Batch): Promise<boolean> {
    const { webhook, target, leads, control } = this.#options;
    this.#sentAt = performance.now();
    this.#waitingSince ??= Date.now();
    const id = `${webhook.name}-${++this.#count}`;
    const delivery = { id, body: new TextEncoder().encode(webhook.encode(events)), count: events.length };
    const isTaken = events.length === 0 ||
      await target.deliver(delivery, () => leads() && !control.current.paused);
    if (isTaken) this.#waitingSince = undefined;
    return isTaken;
  }

  /** Keeps that a batch was told; false when another node has done so meanwhile. */
  async #settle({ changes, entries }: Batch): Promise<boolean> {
    const { happened } = this.#options.webhook;
    const [isCurrent] = await Promise.all([
      this.#told.apply(changes),
      ...entries.map((entry) => happened.remove(entry)),
    ]);
    this.#changes.settle();
    return isCurrent;
  }

  #wakeUp(): void {
    this.#isWoken = true;
    this.#pause.end();
  }

  /** Resolves after a while, or when there is something new since {@linkcode #lead} has last looked. */
  async #untilWoken(milliseconds: number): Promise<void> {
    if (this.#isWoken || this.#options.signal.aborted) {
      this.#isWoken = false;
      return;
    }
    await this.#pause.wait(milliseconds);
  }
}
