/**
 * Events that one of the nodes and threads that share an engine is to tell somebody: any of them adds some, and they
 * stay in the engine's state until the one that tells them removes them.
 */
import { sleep } from "../base/sleep.ts";
import { Turn } from "../base/turn.ts";
import type { Cluster } from "./cluster/cluster.ts";
import type { LogState } from "./log.ts";
import type { Logger } from "./logger.ts";
import { utf8Length } from "../base/utf8.ts";

/** The events that were added in one turn of one node, or some of them. */
export interface QueuedEvents {
  readonly key: string;
  readonly revision: number;
  /** JSON texts. */
  readonly events: readonly string[];
}

export interface EventQueueOptions {
  /** 1 to 60 characters of A-Z a-z 0-9 _ -. */
  readonly name: string;
  readonly state: LogState;
  readonly cluster: Cluster | undefined;
  readonly logger: Logger;
}

/** Events that wait in this process for the engine to take them; beyond, new ones are lost. */
const MAX_UNWRITTEN = 10_000;
/** What one entry holds at most, in events and bytes. An event that is larger has an entry of its own. */
const MAX_ENTRY_EVENTS = 100;
const MAX_ENTRY_BYTES = 64 * 1024;
const ENGINE_PAUSE_MILLISECONDS = 1_000;

export class EventQueue implements AsyncDisposable {
  readonly #options: EventQueueOptions;
  readonly #prefix: string;
  readonly #call: string;
  readonly #stop = new AbortController();
  readonly #turn = new Turn<string>((events) => this.#take(events));
  #unwritten: string[] = [];
  #writing: Promise<void> | undefined;
  #count = 0;
  #lost = 0;
  #onAdded: ((key: string) => void) | undefined;

  constructor(options: EventQueueOptions) {
    this.#options = options;
    this.#prefix = `${options.name}-event-`;
    this.#call = `events.${options.name}`;
    options.cluster?.handle(this.#call, (key) => {
      if (typeof key === "string") this.#onAdded?.(key);
    });
  }

  /**
   * Adds an event. It is in the engine soon after; while the engine takes nothing it waits in memory.
   *
   * @param event JSON text
   */
  add(event: string): void {
    this.#turn.add(event);
  }

  /** Calls back with the key of each entry that any node adds from now on, as far as this one hears of it. */
  listen(onAdded: (key: string) => void): void {
    this.#onAdded = onAdded;
  }

  /**
   * The keys of all entries, in the order in which they were added.
   *
   * @throws {MessagingError} what the engine rejects with
   */
  async listKeys(): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.#options.state.list(this.#prefix)) keys.push(key);
    return keys.sort();
  }

  /**
   * One entry; undefined if it is there no more.
   *
   * @throws {MessagingError} what the engine rejects with
   */
  async read(key: string): Promise<QueuedEvents | undefined> {
    const entry = await this.#options.state.read(key);
    return entry && { key, revision: entry.revision, events: parseEvents(entry.value) };
  }

  /**
   * Removes an entry whose events were told.
   *
   * @throws {MessagingError} what the engine rejects with
   */
  async remove({ key, revision }: Pick<QueuedEvents, "key" | "revision">): Promise<void> {
    await this.#options.state.delete(key, revision);
  }

  /** Hands over what waits, unless the engine fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#turn.flush();
    this.#stop.abort();
    await this.#writing;
  }

  #take(events: readonly string[]): void {
    const room = Math.max(0, MAX_UNWRITTEN - this.#unwritten.length);
    this.#unwritten.push(...events.slice(0, room));
    this.#lost += Math.max(0, events.length - room);
    this.#writing ??= this.#write().finally(() => this.#writing = undefined);
  }

  /** Writes all that waits; never rejects. */
  async #write(): Promise<void> {
    const { name, state, logger } = this.#options;
    let isFailing = false;
    while (this.#unwritten.length > 0) {
      const events = this.#findNext();
      const key = this.#createKey();
      try {
        await state.write(key, `[${events.join(",")}]`, 0);
        this.#unwritten.splice(0, events.length);
        this.#tell(key);
        if (isFailing) {
          logger.write("info", "webhook events are kept again", { hook: name, lost: this.#lost });
          this.#lost = 0;
        }
        isFailing = false;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        if (!isFailing) logger.write("error", "webhook events wait for the engine", { hook: name, reason });
        isFailing = true;
        await sleep(ENGINE_PAUSE_MILLISECONDS, this.#stop.signal);
        if (this.#stop.signal.aborted) return;
      }
    }
  }

  #findNext(): readonly string[] {
    let bytes = 0;
    let count = 0;
    for (const event of this.#unwritten) {
      bytes += utf8Length(event);
      if (count > 0 && (bytes > MAX_ENTRY_BYTES || count === MAX_ENTRY_EVENTS)) break;
      count++;
    }
    return this.#unwritten.slice(0, count);
  }

  /** Keys in the order of their text are in the order of time. */
  #createKey(): string {
    const time = Date.now().toString(36).padStart(9, "0");
    const count = (this.#count++ % 36 ** 4).toString(36).padStart(4, "0");
    return `${this.#prefix}${time}-${count}-${crypto.randomUUID().slice(0, 8)}`;
  }

  #tell(key: string): void {
    this.#onAdded?.(key);
    // Who does not hear of it reads all entries sooner or later.
    this.#options.cluster?.callAll(this.#call, key).catch(() => {});
  }
}

function parseEvents(value: string): readonly string[] {
  const events: unknown = JSON.parse(value);
  return Array.isArray(events) ? events.map((event) => JSON.stringify(event)) : [];
}
