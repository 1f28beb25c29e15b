/**
 * What is scheduled, in memory: ordered by when it is due, without what the messages say. Every node keeps one; the
 * scheduler fills it from the engine and from what other nodes tell.
 */

import { type Place, Pool } from "../pool.ts";
import { Shares } from "../shares.ts";

/** What is known of a scheduled message without reading it. */
export interface Item {
  readonly id: string;
  readonly channel: string;
  /** Milliseconds since 1970. */
  readonly due: number;
  readonly isRelative: boolean;
  readonly created: number;
  /** Bytes it takes in the engine. */
  readonly bytes: number;
  /** Whose share it counts for. */
  readonly owner?: string | undefined;
}

/** An item with its place in the order. */
interface Placed {
  readonly item: Item;
  /** When it is sent, by the clock of its queue. */
  moment: number;
  /** Whether that is the clock that does not jump: it has a delay, or was put off. */
  isSteady: boolean;
}

/** The two clocks that messages are due by, in milliseconds since 1970. */
export interface Clocks {
  /** The system's, which somebody may set: for messages with a time. */
  readonly now: () => number;
  /** One that does not jump: for messages with a delay. */
  readonly steadyNow: () => number;
}

export class Agenda {
  readonly #clocks: Clocks;
  readonly #pool: Pool;
  readonly #placed = new Map<string, Placed>();
  readonly #timed: Placed[] = [];
  readonly #delayed: Placed[] = [];

  /** @param pool counts what is scheduled */
  constructor(clocks: Clocks, pool = new Pool({ maxCount: Infinity, shares: new Shares() })) {
    this.#clocks = clocks;
    this.#pool = pool;
  }

  get size(): number {
    return this.#placed.size;
  }

  has(id: string): boolean {
    return this.#placed.has(id);
  }

  ids(): readonly string[] {
    return [...this.#placed.keys()];
  }

  /**
   * Adds an item, unless it is there already.
   *
   * @param remaining milliseconds until it is due, for one with a delay; by the system's clock if left out
   */
  add(item: Item, remaining = item.due - this.#clocks.now()): void {
    if (this.#placed.has(item.id)) return;
    const moment = item.isRelative ? this.#clocks.steadyNow() + remaining : item.due;
    const placed = { item, moment, isSteady: item.isRelative };
    this.#placed.set(item.id, placed);
    this.#pool.add(placeOf(item));
    insert(this.#queueOf(placed), placed);
  }

  remove(id: string): void {
    const placed = this.#placed.get(id);
    if (placed === undefined) return;
    this.#placed.delete(id);
    this.#pool.remove(placeOf(placed.item));
    take(this.#queueOf(placed), placed);
  }

  /** Puts an item off, after a failure. */
  postpone(id: string, milliseconds: number): void {
    const placed = this.#placed.get(id);
    if (placed === undefined) return;
    take(this.#queueOf(placed), placed);
    // A pause is a time that passes, also for a message that waits for the clock.
    placed.isSteady = true;
    placed.moment = this.#clocks.steadyNow() + milliseconds;
    insert(this.#queueOf(placed), placed);
  }

  /** The items that are due, the first to be sent first. */
  takeDue(limit: number): readonly Item[] {
    const { now, steadyNow } = this.#clocks;
    const due = [...findDue(this.#timed, now(), limit), ...findDue(this.#delayed, steadyNow(), limit)];
    return due.map(({ item }) => item)
      .sort((a, b) => a.due - b.due || a.created - b.created || (a.id < b.id ? -1 : 1)).slice(0, limit);
  }

  /** Milliseconds until the next one is due; Infinity if nothing is scheduled. */
  get wait(): number {
    const [timed] = this.#timed;
    const [delayed] = this.#delayed;
    return Math.min(
      timed === undefined ? Infinity : timed.moment - this.#clocks.now(),
      delayed === undefined ? Infinity : delayed.moment - this.#clocks.steadyNow(),
    );
  }

  /** All items, the next one due first. */
  list(): readonly Item[] {
    return [...this.#timed, ...this.#delayed].map(({ item }) => item)
      .sort((a, b) => a.due - b.due || a.created - b.created);
  }

  /** Milliseconds that the oldest one is late, by the system's clock; 0 if none is. */
  get lateness(): number {
    const [timed] = this.#timed;
    const [delayed] = this.#delayed;
    const now = this.#clocks.now();
    return Math.max(0, now - (timed?.item.due ?? Infinity), now - (delayed?.item.due ?? Infinity));
  }

  #queueOf({ isSteady }: Placed): Placed[] {
    return isSteady ? this.#delayed : this.#timed;
  }
}

function placeOf({ owner, bytes }: Item): Place {
  return { owner, bytes };
}

function compare(a: Placed, b: Placed): number {
  return a.moment - b.moment || a.item.created - b.item.created || (a.item.id < b.item.id ? -1 : 1);
}

/** The place in a sorted queue of the first that does not come before. */
function findPlace(queue: readonly Placed[], placed: Placed): number {
  let [low, high] = [0, queue.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = queue[middle]!;
    if (other !== placed && compare(other, placed) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function insert(queue: Placed[], placed: Placed): void {
  queue.splice(findPlace(queue, placed), 0, placed);
}

function take(queue: Placed[], placed: Placed): void {
  const place = findPlace(queue, placed);
  if (queue[place] === placed) queue.splice(place, 1);
}

function findDue(queue: readonly Placed[], now: number, limit: number): readonly Placed[] {
  let count = 0;
  while (count < limit && (queue[count]?.moment ?? Infinity) <= now) count++;
  return queue.slice(0, count);
}
