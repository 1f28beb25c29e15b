/**
 * Appends of drafts with a marker in the JetStream engine, which uses it. Messages and state are in two streams, and
 * NATS has no transaction over both, so that there are three steps: the entry is written, as a promise; the message is
 * appended under its idempotency key, or one that the entry's revision makes its own; the entry gets the receipt. A
 * draft that finds a promise looks for its message in the channel, and is appended under the same key, by which the log
 * recognises it for five minutes.
 *
 * **The bound.** If a node is killed between the second step and the third, a few milliseconds, and the same draft
 * comes again after five minutes, when the channel's history does not hold the message any more, it is stored twice.
 */
import { MessagingError } from "../../core/errors.ts";
import type { Log, LogState, Receipt } from "../../core/log.ts";
import type { Draft } from "../../core/message.ts";
import type { Place } from "./channel.ts";
import { encodeKey, type RecordHead, recordOf } from "./record.ts";
import { decodeMarker, encodeMarker } from "../stamp.ts";

/** An entry whose message may or may not be stored; if it is, after this place. */
const PROMISE = /^promised (\w+) (\d+)$/;

/** Records that are read at once. */
const READ_CONCURRENCY = 32;

/** Errors of an append after which its message is certainly not stored, and will not be. */
const REFUSALS: ReadonlySet<string> = new Set(["too_large", "too_many_channels"]);

type Prepared = { readonly receipt: Receipt } | { readonly revision: number };

export interface MarkedAppendsOptions {
  readonly state: LogState;
  top(): Log["top"];
  /** Appends a draft with an idempotency key. */
  append(draft: Draft): Promise<Receipt>;
  /** The stored messages of a channel after a sequence. */
  places(channel: string, after: number): readonly Place[];
  /** The head of a record; undefined if it has been removed. */
  readHead(record: number): Promise<RecordHead | undefined>;
}

export class MarkedAppends {
  readonly #options: MarkedAppendsOptions;
  /** By channel: resolves when its last draft is on its way. */
  readonly #started = new Map<string, Promise<void>>();

  constructor(options: MarkedAppendsOptions) {
    this.#options = options;
  }

  /** Appends a draft, after those that came before it on its channel. */
  async append(draft: Draft, marker: string): Promise<Receipt> {
    const { channel } = draft;
    const prepared = this.#prepare(draft, marker);
    // Handled below, once it is this one's turn.
    prepared.catch(() => {});
    const before = this.#started.get(channel) ?? Promise.resolve();
    const appended = before.then(() => prepared).then((found) => ({
      done: this.#finish(draft, marker, found),
    }));
    const started: Promise<void> = appended.then(() => {}, () => {}).then(() => {
      if (this.#started.get(channel) === started) this.#started.delete(channel);
    });
    this.#started.set(channel, started);
    return await (await appended).done;
  }

  /** Writes the promise, or finds what an earlier attempt left. */
  async #prepare(draft: Draft, marker: string): Promise<Prepared> {
    const { state, top } = this.#options;
    while (true) {
      const { epoch, sequence } = top();
      const written = await state.write(marker, `promised ${epoch} ${sequence}`, 0);
      if (written !== undefined) return { revision: written };
      const entry = await state.read(marker);
      // Deleted meanwhile.
      if (entry === undefined) continue;
      const { value, revision } = entry;
      const promise = PROMISE.exec(value);
      if (promise === null) return { receipt: decodeMarker(value) };
      const after = promise[1] === epoch ? Number(promise[2]) : 0;
      const receipt = await this.#find(draft.channel, draft.idempotencyKey ?? keyOf(marker, revision), after);
      if (receipt === undefined) return { revision };
      await state.write(marker, encodeMarker(receipt), revision);
      return { receipt: { ...receipt, duplicate: true } };
    }
  }

  /** Finds the message with an idempotency key among those after a sequence, however old. */
  async #find(channel: string, key: string, after: number): Promise<Receipt | undefined> {
    const { places, readHead, top } = this.#options;
    const wanted = encodeKey(key);
    const { epoch } = top();
    const all = places(channel, after);
    for (let i = 0; i < all.length; i += READ_CONCURRENCY) {
      const some = all.slice(i, i + READ_CONCURRENCY);
      const heads = await Promise.all(some.map(({ sequence }) => readHead(recordOf(sequence))));
      const place = some[heads.findIndex((head) => head?.key === wanted)];
      if (place === undefined) continue;
      const { offset, sequence, time } = place;
      return { epoch, offset, sequence, time, duplicate: false };
    }
    return undefined;
  }

  async #finish(draft: Draft, marker: string, prepared: Prepared): Promise<Receipt> {
    if ("receipt" in prepared) return prepared.receipt;
    const { revision } = prepared;
    const { state, append } = this.#options;
    let receipt;
    try {
      const { idempotencyKey = keyOf(marker, revision) } = draft;
      receipt = await append({ ...draft, idempotencyKey });
    } catch (error) {
      if (error instanceof MessagingError && REFUSALS.has(error.code)) {
        await state.delete(marker, revision);
      }
      throw error;
    }
    await state.write(marker, encodeMarker(receipt), revision);
    return receipt;
  }
}

/** Public keys are JSON: none is like this one. */
function keyOf(marker: string, revision: number): string {
  return `${marker}:${revision}`;
}
