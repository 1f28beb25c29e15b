/** Which version of a document each channel has carried: publishers may send the same one twice, or too late. */
import type { Receipt } from "../core/log.ts";

/** Channels whose version is remembered; the one that was published to longest ago is forgotten first. */
const MAX_VERSIONED_CHANNELS = 10_000;

export interface Version {
  readonly number: bigint;
  /** Versions are compared within an epoch; the empty one stands for whichever is the channel's. */
  readonly epoch: string;
}

interface Seen {
  number: bigint;
  epoch: string;
  /** The last publish, with the key it was retried by. */
  last: { readonly key: string | undefined; readonly receipt: Receipt } | undefined;
  /** Settles after everything that was asked for before. */
  queue: Promise<unknown>;
}

/**
 * Remembers the newest version of each channel, in memory and for a bounded number of channels: a restart forgets
 * them all, and then an old version goes through once.
 */
export class Versions {
  readonly #channels = new Map<string, Seen>();
  readonly #bound: number;

  constructor(bound = MAX_VERSIONED_CHANNELS) {
    this.#bound = bound;
  }

  /**
   * Publishes, unless the channel has seen this version or a later one. One at a time on each channel: a version
   * counts as seen once it is stored, so that one which failed can be tried again.
   *
   * @param key the idempotency key; a retry of the last publish gets its receipt
   * @returns undefined when it was suppressed
   * @throws what `publish` throws
   */
  publish(
    channel: string,
    version: Version,
    key: string | undefined,
    publish: () => Promise<Receipt>,
  ): Promise<Receipt | undefined> {
    const seen = this.#open(channel);
    const published = seen.queue.then(async () => {
      if ((version.epoch === "" || version.epoch === seen.epoch) && version.number <= seen.number) {
        return key !== undefined && seen.last?.key === key ? seen.last.receipt : undefined;
      }
      const receipt = await publish();
      // A repeated message says nothing of what came after it.
      if (!receipt.duplicate) Object.assign(seen, version, { last: { key, receipt } });
      return receipt;
    });
    seen.queue = published.catch(() => {});
    return published;
  }

  #open(channel: string): Seen {
    const seen = this.#channels.get(channel) ??
      { number: 0n, epoch: "", last: undefined, queue: Promise.resolve() };
    this.#channels.delete(channel);
    this.#channels.set(channel, seen);
    if (this.#channels.size > this.#bound) {
      for (const [oldest] of this.#channels) {
        this.#channels.delete(oldest);
        break;
      }
    }
    return seen;
  }
}
