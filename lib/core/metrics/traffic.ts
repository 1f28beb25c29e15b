/**
 * How many messages each channel gets, counted only while somebody wants to know: the inspector. It costs the hub one
 * look-up for each run of messages on a channel.
 */
import type { Hub } from "../hub.ts";
import type { Message } from "../message.ts";

interface Flow {
  /** Messages since the last turn of the page. */
  count: number;
  /** Messages a second before that. */
  rate: number;
  last: Message;
}

/** Milliseconds over which messages are counted to tell their rate. */
const PERIOD_MILLISECONDS = 2_000;

/** Counts while it is held by anybody. */
export class Traffic {
  readonly #hub: Pick<Hub, "observe">;
  readonly #flows = new Map<string, Flow>();
  readonly #now: () => number;
  #users = 0;
  #start = 0;
  #stop: (() => void) | undefined;

  /** @param now in milliseconds of any clock that does not jump */
  constructor(hub: Pick<Hub, "observe">, now: () => number = () => performance.now()) {
    this.#hub = hub;
    this.#now = now;
  }

  /** Counts until the returned function is called, and every other holder's. */
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

  /** Messages a second on a channel, of late; 0 while nobody counts. */
  rate(channel: string): number {
    this.#turn();
    return this.#flows.get(channel)?.rate ?? 0;
  }

  /** The newest message on a channel that was lately busy. */
  last(channel: string): Message | undefined {
    return this.#flows.get(channel)?.last;
  }

  /** The channels that were lately busy. */
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

  /** Once a period is over, makes rates of counts, and forgets channels that have gone quiet. */
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
