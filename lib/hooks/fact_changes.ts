/**
 * The changes of a protocol's facts that the target was not told yet, in order, those included that were undone while
 * the target did not answer. The protocol lane keeps one.
 */
import type { Facts } from "../core/protocol_webhook.ts";
import type { FactChange, ToldFacts } from "./told_facts.ts";

/** How long a fact may be absent and come back without any event: clients reconnect. */
const ABSENCE_MILLISECONDS = 3_000;
/** The same for a fact that an earlier process has told, from the start of this one: its clients come back first. */
const RESTART_MILLISECONDS = 30_000;
/** How long the absences of facts are remembered where another node sends. */
const REMEMBERED_MILLISECONDS = 60_000;
/** Facts that are noted in one turn of the event loop: when a node goes, very many disappear at once. */
const TURN_FACTS = 256;
/** Changes that may wait beside those that a new sender finds; beyond, the target is told what came of them. */
const MAX_WAITING = 10_000;

/** What tells the time, in milliseconds, and calls back. */
export interface ChangesClock {
  now(): number;
  /** Runs a task later; returns a function that cancels it. */
  after(milliseconds: number, task: () => void): () => void;
}

const CLOCK: ChangesClock = {
  now: () => performance.now(),
  after(milliseconds, task) {
    const timer = setTimeout(task, milliseconds);
    return () => clearTimeout(timer);
  },
};

export interface FactChangesOptions {
  readonly facts: Facts;
  readonly told: Pick<ToldFacts, "keys" | "find">;
  readonly clock?: ChangesClock;
  /** There is something to take. */
  onReady(): void;
  /** Too many changes waited: only what came of them is told. */
  onOverflow(): void;
}

export class FactChanges {
  readonly #options: FactChangesOptions;
  readonly #clock: ChangesClock;
  readonly #startedAt: number;
  /** When facts have gone, until that is to be told. */
  readonly #gone = new Map<string, number>();
  /** Absent facts that may come back without any event, in the order in which they disappeared. */
  readonly #absent = new Set<string>();
  /** Facts that an earlier process has told, and that this one has not seen. */
  readonly #unseen = new Set<string>();
  /** The value of each fact after all that waits, where it is not the one that was told. */
  readonly #noted = new Map<string, string | undefined>();
  #waiting: FactChange[] = [];
  #maxWaiting = Infinity;
  /** Changes that were taken, and are not known to be told. */
  #taken: readonly FactChange[] = [];
  /** The newest change that waits of each fact. */
  readonly #newest = new Map<string, { key: string; before: string | null; after: string | null }>();
  #isLeading = false;
  #cancelTimer: () => void = () => {};
  /** When the timer fires. */
  #wakesAt = Infinity;

  constructor(options: FactChangesOptions) {
    this.#options = options;
    this.#clock = options.clock ?? CLOCK;
    this.#startedAt = this.#clock.now();
  }

  /** Changes that wait to be taken. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Begins to look. Returns a function that ends it. */
  watch(): () => void {
    const stop = this.#options.facts.watch((key) => this.#notice(key));
    const forgets = setInterval(() => this.#forgetAbsences(), REMEMBERED_MILLISECONDS);
    return () => {
      stop();
      clearInterval(forgets);
      this.#stopTimer();
    };
  }

  /**
   * This node sends from now on: what is different from what was told waits. To be called when that is known.
   *
   * @param taken what is about to be told already
   */
  lead(taken: readonly FactChange[]): void {
    this.follow();
    this.#isLeading = true;
    this.#taken = taken;
    for (const { key, after } of taken) this.#noted.set(key, after ?? undefined);
    const { facts, told } = this.#options;
    // What is inside of something comes after it, and goes before it.
    const known = new Set([...told.keys(), ...this.#noted.keys()]);
    const departed = [...known].filter((key) => facts.find(key) === undefined).sort().reverse();
    for (const key of departed) if (!this.#gone.has(key)) this.#unseen.add(key);
    const absent = departed.filter((key) => this.#gone.has(key));
    for (const key of absent.sort((a, b) => this.#gone.get(a)! - this.#gone.get(b)!)) this.#absent.add(key);
    for (const key of [...facts.keys()].sort()) this.#note(key);
    this.#confirm(Infinity);
    this.#maxWaiting = this.#waiting.length + MAX_WAITING;
  }

  /** Another node sends. */
  follow(): void {
    this.#isLeading = false;
    this.#stopTimer();
    this.#absent.clear();
    this.#unseen.clear();
    this.#noted.clear();
    this.#newest.clear();
    this.#waiting = [];
    this.#maxWaiting = Infinity;
    this.#taken = [];
  }

  /** Takes the oldest changes, so many at most, once those before are settled. */
  take(limit: number): readonly FactChange[] {
    const taken = this.#waiting.splice(0, limit);
    for (const change of taken) if (this.#newest.get(change.key) === change) this.#newest.delete(change.key);
    this.#taken = taken;
    return taken;
  }

  /** What was taken was told, and that is kept. */
  settle(): void {
    for (const { key, after } of this.#taken) {
      if (!this.#newest.has(key) && (this.#noted.get(key) ?? null) === after) this.#noted.delete(key);
    }
    this.#taken = [];
  }

  /** A fact has changed. Quick: it is called with every change of who is where. */
  #notice(key: string): void {
    const isThere = this.#options.facts.find(key) !== undefined;
    this.#gone.delete(key);
    this.#absent.delete(key);
    this.#unseen.delete(key);
    if (!isThere) this.#gone.set(key, this.#clock.now());
    if (!this.#isLeading) return;
    if (isThere) return this.#note(key);
    this.#absent.add(key);
    this.#wakeAt(this.#clock.now() + ABSENCE_MILLISECONDS);
  }

  /** Notes what has not come back in time, so many at most: the rest follows in the next turn. */
  #confirm(most: number): void {
    const now = this.#clock.now();
    let count = 0;
    for (const key of this.#absent) {
      if (++count > most) return this.#wakeAt(now);
      const until = (this.#gone.get(key) ?? now) + ABSENCE_MILLISECONDS;
      if (until > now) {
        this.#wakeAt(until);
        break;
      }
      this.#absent.delete(key);
      this.#gone.delete(key);
      this.#note(key);
    }
    const until = this.#startedAt + RESTART_MILLISECONDS;
    if (this.#unseen.size === 0) return;
    if (until > now) return this.#wakeAt(until);
    for (const key of this.#unseen) {
      if (++count > most) return this.#wakeAt(now);
      this.#unseen.delete(key);
      this.#note(key);
    }
  }

  #note(key: string): void {
    const { facts, told, onReady } = this.#options;
    const before = (this.#noted.has(key) ? this.#noted.get(key) : told.find(key)) ?? null;
    const value = facts.find(key);
    const after = value ?? null;
    if (before === after) return;
    this.#noted.set(key, value);
    const newest = this.#newest.get(key);
    // Of several values only the last one counts.
    if (newest !== undefined && newest.after !== null && after !== null) newest.after = after;
    else {
      const change = { key, before, after };
      this.#newest.set(key, change);
      if (this.#waiting.push(change) > this.#maxWaiting) return this.#startOver();
    }
    onReady();
  }

  #startOver(): void {
    this.#options.onOverflow();
    this.lead(this.#taken);
  }

  #wakeAt(at: number): void {
    if (at >= this.#wakesAt) return;
    this.#stopTimer();
    this.#wakesAt = at;
    this.#cancelTimer = this.#clock.after(at - this.#clock.now(), () => {
      this.#wakesAt = Infinity;
      this.#confirm(TURN_FACTS);
    });
  }

  #stopTimer(): void {
    this.#cancelTimer();
    this.#wakesAt = Infinity;
  }

  #forgetAbsences(): void {
    const before = this.#clock.now() - REMEMBERED_MILLISECONDS;
    for (const [key, since] of this.#gone) if (since < before) this.#gone.delete(key);
  }
}
