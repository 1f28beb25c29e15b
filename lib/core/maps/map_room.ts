/**
 * What room there is for keys of maps: `ChannelMaps` takes some for each value, and for each that is about to be
 * stored.
 */
import { MessagingError } from "../errors.ts";
import type { Draft } from "../message.ts";
import { describeShare, type Place, Pool } from "../pool.ts";
import { Shares } from "../shares.ts";
import type { ChannelMap, MapValue } from "./channel_map.ts";
import { sizeOf } from "./map_entry.ts";

/** Bounds of what maps may take. */
export interface MapLimits {
  /** Most keys of one channel. */
  readonly maxMapKeys: number;
  /** Most keys of all channels. */
  readonly maxAllMapKeys: number;
  /** Most bytes of all values. */
  readonly maxMapBytes: number;
}

export class MapRoom {
  readonly #maxMapKeys: number;
  readonly #pool: Pool;

  /** @param shares how much of what all have one user or address may take; all if left out */
  constructor({ maxMapKeys, maxAllMapKeys, maxMapBytes }: MapLimits, shares: Shares = new Shares()) {
    this.#maxMapKeys = maxMapKeys;
    this.#pool = new Pool({ maxCount: maxAllMapKeys, maxBytes: maxMapBytes, shares });
  }

  /** The number of keys of all channels, those that are about to be stored among them. */
  get keys(): number {
    return this.#pool.size;
  }

  /** Bytes of their values. */
  get bytes(): number {
    return this.#pool.bytes;
  }

  take(value: MapValue): void {
    this.#pool.add(placeOf(value));
  }

  free(value: MapValue): void {
    this.#pool.remove(placeOf(value));
  }

  /**
   * Takes room for a value that is about to be stored, as others are at the same time.
   *
   * @returns what gives it back, once the value is in the map or is not stored
   * @throws {MessagingError} `too_many_keys` or `share_used_up`
   */
  reserve(map: ChannelMap, key: string, draft: Draft): () => void {
    const known = map.get(key);
    if (known === undefined && map.size + map.addedCount >= this.#maxMapKeys) {
      throw tooMany(`"${map.channel}" has ${map.size} keys`, "--max-map-keys");
    }
    const replaced = known && placeOf(known);
    const place = { owner: draft.properties?.owner, bytes: sizeOf(key, draft) };
    const shortage = this.#pool.findShortage(place, replaced);
    if (shortage?.isShare) throw describeShare(shortage, "keys of maps", "remove some");
    if (shortage?.unit === "bytes") {
      throw tooMany(
        `The keys of all channels would take more than ${shortage.limit} bytes`,
        "--max-map-bytes",
      );
    }
    if (shortage !== undefined) {
      throw tooMany(`All channels together have ${shortage.limit} keys`, "--max-all-map-keys");
    }
    const added: Place = replaced?.owner === place.owner && replaced !== undefined
      ? { ...place, bytes: Math.max(0, place.bytes - replaced.bytes), count: 0 }
      : place;
    this.#pool.add(added);
    return () => this.#pool.remove(added);
  }
}

/** What a value takes of what all have. */
function placeOf({ message, bytes }: MapValue): Place {
  return { owner: message.properties?.owner, bytes };
}

function tooMany(what: string, setting: string): MessagingError {
  return new MessagingError("too_many_keys", `${what}: remove some, or raise ${setting}`);
}
