/**
 * Keeps the values of maps in the engine's state, one entry a key. `ChannelMaps` says when one has changed; nodes that
 * write the same key at a time agree on the value that was stored in the log later.
 */
import { sleep } from "../../base/sleep.ts";
import { MessagingError, toMessagingError } from "../errors.ts";
import type { LogState } from "../log.ts";
import type { Logger } from "../logger.ts";
import type { Message } from "../message.ts";
import type { ChannelMap } from "./channel_map.ts";
import { encodeEntry, isLater, KEY_PREFIX, parseEntry, type Place, stateKeyOf } from "./map_entry.ts";

/** How often a write that another node overtook is tried. */
const MAX_ATTEMPTS = 16;
/** Between two tries to write what the engine could not keep. */
const RETRY_MILLISECONDS = 1_000;

/** One key that is being written. */
interface Writing {
  promise: Promise<void>;
  /** Up to where the channel is known: a later value stays. */
  place: Place;
  /** Whether it has changed since. */
  isAgain: boolean;
}

export class MapStore implements AsyncDisposable {
  readonly #state: LogState;
  readonly #logger: Logger;
  /** Revisions of entries, by their keys. */
  readonly #revisions = new Map<string, number>();
  readonly #writing = new Map<ChannelMap, Map<string, Writing>>();
  /** What was removed elsewhere and is being looked after. None of these rejects. */
  readonly #releasing = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(state: LogState, logger: Logger) {
    this.#state = state;
    this.#logger = logger;
  }

  /** What the engine keeps, in any order. Errors like the engine's state; an entry that is not ours is logged. */
  async *load(): AsyncIterable<Message> {
    for await (const { key, value, revision } of this.#state.list(KEY_PREFIX)) {
      this.#revisions.set(key, revision);
      try {
        yield parseEntry(value);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        this.#logger.write("error", "a value of a map is lost", { key, reason });
      }
    }
  }

  /**
   * Makes the engine keep what a key is set to now, or that it is not. Tries again while the engine cannot be reached.
   *
   * @param place of the newest message of the key that is known
   * @throws {MessagingError} `draining` if the server stops before, `log_unavailable` if other nodes are always faster
   */
  save(map: ChannelMap, key: string, place: Place): Promise<void> {
    let ofMap = this.#writing.get(map);
    if (ofMap === undefined) this.#writing.set(map, ofMap = new Map());
    const running = ofMap.get(key);
    if (running !== undefined) {
      running.isAgain = true;
      if (isLater(place, running.place)) running.place = place;
      return running.promise;
    }
    const writing: Writing = { promise: Promise.resolve(), place, isAgain: false };
    ofMap.set(key, writing);
    return writing.promise = this.#saveAll(map, key, writing).finally(() => {
      ofMap.delete(key);
      if (ofMap.size === 0) this.#writing.delete(map);
    });
  }

  /**
   * Another node removed a key. Should this one have kept a value of it, perhaps after the other looked, that is
   * removed too, behind the scenes.
   */
  release(map: ChannelMap, key: string, place: Place): void {
    const releasing: Promise<void> = this.#release(map, key, place).finally(() =>
      this.#releasing.delete(releasing)
    );
    this.#releasing.add(releasing);
  }

  async #release(map: ChannelMap, key: string, place: Place): Promise<void> {
    if (!this.#revisions.has(await stateKeyOf(map.channel, key))) return;
    // What fails is logged; whoever removed it is told.
    await this.save(map, key, place).catch(() => {});
  }

  /** Resolves when what is being written of a map is kept, or cannot be. */
  async settled(map: ChannelMap): Promise<void> {
    await Promise.allSettled([...this.#writing.get(map)?.values() ?? []].map(({ promise }) => promise));
  }

  /** Waits for what is being written; what cannot be is given up. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#releasing);
    await Promise.all([...this.#writing.keys()].map((map) => this.settled(map)));
  }

  async #saveAll(map: ChannelMap, key: string, writing: Writing): Promise<void> {
    const stateKey = await stateKeyOf(map.channel, key);
    do {
      writing.isAgain = false;
      try {
        await this.#write(map, key, stateKey, writing);
      } catch (error) {
        const { code, message } = toMessagingError(error);
        this.#logger.write("error", "storing a key failed", { channel: map.channel, key, reason: message });
        if (code !== "log_unavailable" && code !== "log_full") throw error;
        writing.isAgain = true;
        await sleep(RETRY_MILLISECONDS, this.#stop.signal);
        if (this.#stop.signal.aborted) {
          throw new MessagingError("draining", "The server is restarting: try again in a moment");
        }
      }
    } while (writing.isAgain);
  }

  async #write(map: ChannelMap, key: string, stateKey: string, writing: Writing): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const message = map.get(key)?.message;
      const revision = this.#revisions.get(stateKey) ?? 0;
      if (message !== undefined) {
        const written = await this.#state.write(stateKey, encodeEntry(message), revision);
        if (written !== undefined) {
          this.#revisions.set(stateKey, written);
          if (map.get(key)?.message === message) return;
          // Another node has set or removed it meanwhile, and perhaps looked before this was written.
          continue;
        }
      } else if (revision > 0 && await this.#state.delete(stateKey, revision)) {
        return void this.#revisions.delete(stateKey);
      }
      const entry = await this.#state.read(stateKey);
      if (entry === undefined) this.#revisions.delete(stateKey);
      else this.#revisions.set(stateKey, entry.revision);
      if (entry === undefined) {
        if (map.get(key) === undefined) return;
        continue;
      }
      const stored = readEntry(entry.value);
      if (stored === undefined) continue;
      const known = map.get(key)?.message;
      // Another node was faster with the same value, or a later one.
      if (known === undefined ? isLater(stored, writing.place) : !isLater(known, stored)) return;
    }
    throw new MessagingError("log_unavailable", "Other nodes keep writing it");
  }
}

/** The value that an entry holds; undefined for one that is not ours, which is written over. */
function readEntry(value: string): Message | undefined {
  try {
    return parseEntry(value);
  } catch {
    return undefined;
  }
}
