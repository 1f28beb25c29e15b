/** What limits remember of each address and user: in this thread, or (`shared_limit_states.ts`) in all of a process. */
import { type Rate, TokenBucket } from "../base/token_bucket.ts";

/** The connections and the rate of one address, or of one user who publishes by HTTP. */
export interface LimitState {
  /** Counts a connection unless there are `limit` already. */
  connect(limit: number): boolean;
  disconnect(): void;
  /**
   * Takes a token of the rate.
   *
   * @returns 0 if there was one, else the milliseconds until there will be
   */
  take(rate: Rate, now: number): number;
  /** Returns a token that was taken, as when another limit refused. */
  giveBack(rate: Rate): void;
}

/**
 * The states by key, and the number of connections in all. A state without connections and with a full rate is dropped.
 */
export interface LimitStates {
  readonly connections: number;
  /** Counts a connection in all, unless there are `limit` already. */
  connect(limit: number): boolean;
  disconnect(): void;
  /** @param now a monotonic clock in milliseconds, the same for all threads that share the states */
  open(key: string, now: number): LimitState;
}

/** States that are checked for removal whenever one is added. */
const SWEPT_STATES = 4;

/** The states of one thread. */
export class LocalLimitStates implements LimitStates {
  readonly #states = new Map<string, LocalState>();
  #sweep: Iterator<[string, LocalState]> = [].values();
  #connections = 0;

  get connections(): number {
    return this.#connections;
  }

  /** The number of addresses and users with a state. */
  get size(): number {
    return this.#states.size;
  }

  connect(limit: number): boolean {
    if (this.#connections >= limit) return false;
    this.#connections++;
    return true;
  }

  disconnect(): void {
    this.#connections--;
  }

  open(key: string, now: number): LimitState {
    let state = this.#states.get(key);
    if (state === undefined) {
      this.#forgetSome(now);
      this.#states.set(key, state = new LocalState());
    }
    return state;
  }

  /** Checks a few states for each one added, so that unused ones cannot pile up. */
  #forgetSome(now: number): void {
    for (let i = 0; i < SWEPT_STATES; i++) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#states.entries();
        return;
      }
      const [key, state] = next.value;
      if (state.isUnused(now)) this.#states.delete(key);
    }
  }
}

class LocalState implements LimitState {
  #connections = 0;
  #bucket: TokenBucket | undefined;

  connect(limit: number): boolean {
    if (this.#connections >= limit) return false;
    this.#connections++;
    return true;
  }

  disconnect(): void {
    this.#connections--;
  }

  take(rate: Rate, now: number): number {
    this.#bucket ??= new TokenBucket(rate, now);
    return this.#bucket.take(now);
  }

  giveBack(): void {
    this.#bucket?.giveBack();
  }

  isUnused(now: number): boolean {
    return this.#connections === 0 && (this.#bucket?.isFull(now) ?? true);
  }
}
