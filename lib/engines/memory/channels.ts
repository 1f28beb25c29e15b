/** The channels of the memory engine, and what is left of those that it has forgotten. */
import type { Message } from "../../core/message.ts";
import { FORGET_MILLISECONDS, Tombstones } from "../forgotten.ts";

export interface Stored {
  readonly message: Message;
  /** When it was stored, by the clock for deadlines. Its own time may be later, if the system's clock was set back. */
  readonly since: number;
  readonly expires: number | undefined;
}

export interface Channel {
  readonly name: string;
  readonly id: number;
  offset: number;
  /** When its newest message was stored, by the clock for deadlines. */
  touched: number;
  stored: Stored[];
  /** The number of stored messages with a ttl. */
  expiring: number;
  /** The sequences of messages that were removed by themselves. */
  takenBack: readonly number[];
  /** The newest message that was removed, other than by itself: nobody misses those. */
  removedOffset: number;
  removedSequence: number;
  removedTime: number;
  /** The newest message of the last removal other than by ttl, and the number of that removal in the engine. */
  cutSequence: number;
  cutAt: number;
}

/** How often all channels are checked for those to forget, in milliseconds; and when there is no room for another. */
export const FORGET_INTERVAL = 10_000;
export const SHORT_FORGET_INTERVAL = 1_000;

export class MemoryChannels {
  readonly tombstones: Tombstones;
  readonly #byName = new Map<string, Channel>();
  readonly #forgetAfter: number;
  #all: Channel[] = [];
  #forgets = 0;
  #checked = -Infinity;
  #id = 0;

  constructor(options: { readonly forgetAfter?: number; readonly maxTombstones?: number }) {
    this.#forgetAfter = options.forgetAfter ?? FORGET_MILLISECONDS;
    this.tombstones = new Tombstones(options.maxTombstones);
  }

  /** In order of creation. */
  get all(): readonly Channel[] {
    return this.#all;
  }

  /** How often channels were forgotten. */
  get forgets(): number {
    return this.#forgets;
  }

  get size(): number {
    return this.#all.length;
  }

  get(name: string): Channel | undefined {
    return this.#byName.get(name);
  }

  /** Finds a channel, or creates it. Its offsets go on where they were, should it have been forgotten. */
  open(name: string): Channel {
    let channel = this.#byName.get(name);
    if (channel === undefined) {
      channel = {
        name,
        id: ++this.#id,
        ...this.tombstones.find(name),
        touched: 0,
        stored: [],
        expiring: 0,
        takenBack: [],
        cutSequence: 0,
        cutAt: 0,
      };
      this.#byName.set(name, channel);
      this.#all.push(channel);
    }
    return channel;
  }

  /**
   * Forgets the channels that are empty and had no message for long, unless that was checked lately.
   *
   * @param now by the clock for deadlines
   * @param interval since the last check, in milliseconds
   * @param expire removes what is too old from a channel
   */
  forget(now: number, interval: number, expire: (channel: Channel) => void): void {
    if (now - this.#checked < interval) return;
    this.#checked = now;
    let count = 0;
    for (const channel of this.#all) {
      if (now - channel.touched < this.#forgetAfter) continue;
      expire(channel);
      if (channel.stored.length > 0) continue;
      this.tombstones.bury(channel.name, channel);
      this.#byName.delete(channel.name);
      count++;
    }
    if (count === 0) return;
    this.#all = this.#all.filter(({ name }) => this.#byName.has(name));
    this.#forgets++;
  }
}
