/**
 * The rate of messages on each channel, measured only while the inspector uses it. It costs the hub one lookup for each
 * run of messages on a channel.
 */
import type { Hub } from "../hub.ts";
import type { Message } from "../message.ts";

interface Flow {
  /** Messages in the current period. */
  count: number;
  /** Messages per second in the previous period. */
  rate: number;
  last: Message;
}

/** Milliseconds over which messages are counted to measure a rate. */
const PERIOD_MILLISECONDS = 2_000;

/** Counts messages while it has users. */
export class Traffic {
  readonly #hub: Pick<Hub, "observe">;
  readonly #flows = new Map<string, Flow>();
  readonly #now: () => number;
  #users = 0;
  #start = 0;
  #stop: (() => void) | undefined;

  /** @param now a monotonic clock in milliseconds */
  constructor(hub: Pick<Hub, "observe">, now: () => number = () => performance.now()) {
    this.#hub = hub;
    this.#now = now;
  }

  /** Adds a user, and returns a function that removes it. Counting stops with the last user. */
  start(): () => void {
    if (this.#users++ === 0) {
      this.#start = this.#now();
      this.#stop = this.#hub.observe((messages) => this.#count(messages));
    }
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      if (--this.#users > 0) return;
      this.#stop?.();
      this.#flows.clear();
    };
  }

  /** Messages per second on a channel in the previous period; 0 without users. */
  rate(channel: string): number {
    this.#turn();
    return this.#flows.get(channel)?.rate ?? 0;
  }

  /** The newest message of a channel, if it had any recently. */
  last(channel: string): Message | undefined {
    return this.#flows.get(channel)?.last;
  }

  /** The channels that had messages recently. */
  list(): Iterable<string> {
    this.#turn();
    return this.#flows.keys();
  }

  #count(messages: readonly Message[]): void {
    this.#turn();
    let flow: Flow | undefined;
    for (const message of messages) {
      if (message.to !== undefined) continue;
      if (flow === undefined || flow.last.channel !== message.channel) {
        flow = this.#flows.get(message.channel);
        if (flow === undefined) this.#flows.set(message.channel, flow = { count: 0, rate: 0, last: message });
      }
      flow.count++;
      flow.last = message;
    }
  }

  /** At the end of a period, turns counts into rates and drops channels without messages. */
  #turn(): void {
    const elapsed = this.#now() - this.#start;
    if (this.#users === 0 || elapsed < PERIOD_MILLISECONDS) return;
    this.#start += elapsed;
    for (const [channel, flow] of this.#flows) {
      if (flow.count === 0 && flow.rate === 0) this.#flows.delete(channel);
      flow.rate = flow.count * 1_000 / elapsed;
      flow.count = 0;
    }
  }
}
