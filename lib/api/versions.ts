/** Tracks the version of the document on each channel, to suppress a publish that is repeated or out of date. */
import type { Receipt } from "../core/log.ts";
import { type Draft, encodePayloadJson } from "../core/message.ts";

/** Most channels whose version is remembered; the least recently published one is dropped first. */
const MAX_VERSIONED_CHANNELS = 10_000;

export interface Version {
  readonly number: bigint;
  /** Versions are compared within an epoch; "" stands for the current epoch of the channel. */
  readonly epoch: string;
}

interface Seen {
  number: bigint;
  epoch: string;
  /** The last publish. */
  last: { readonly draft: Draft; readonly receipt: Receipt } | undefined;
  /** Settles after all earlier publishes. */
  queue: Promise<unknown>;
}

/**
 * Remembers the newest version of each channel, in memory and for a bounded number of channels. After a restart, an old
 * version is accepted once.
 */
export class Versions {
  readonly #channels = new Map<string, Seen>();
  readonly #bound: number;

  constructor(bound = MAX_VERSIONED_CHANNELS) {
    this.#bound = bound;
  }

  /**
   * Publishes, unless the channel has had this version or a later one. Publishes one at a time per channel: a version
   * counts once it is stored, so that a failed publish can be retried.
   *
   * @param draft what `publish` publishes; a retry of the last publish, by its idempotency key, gets its receipt
   * @returns undefined if the publish was suppressed
   * @throws whatever `publish` throws
   */
  publish(draft: Draft, version: Version, publish: () => Promise<Receipt>): Promise<Receipt | undefined> {
    const seen = this.#open(draft.channel);
    const published = seen.queue.then(async () => {
      if ((version.epoch === "" || version.epoch === seen.epoch) && version.number <= seen.number) {
        const { last } = seen;
        return last !== undefined && isRetry(draft, last.draft) ? last.receipt : undefined;
      }
      const receipt = await publish();
      // The receipt of a duplicate is an earlier message's: it says nothing about the current version.
      if (!receipt.duplicate) Object.assign(seen, version, { last: { draft, receipt } });
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

function isRetry(draft: Draft, last: Draft): boolean {
  return draft.idempotencyKey !== undefined && draft.idempotencyKey === last.idempotencyKey &&
    draft.fingerprint === last.fingerprint &&
    encodePayloadJson(draft.payload) === encodePayloadJson(last.payload);
}
