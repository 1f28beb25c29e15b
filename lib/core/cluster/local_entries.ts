/** The clients and subscriptions of this node as its peers get to know them. The cluster owns them. */
import { utf8Length } from "../../base/utf8.ts";
import { encodeSelector } from "../channel.ts";
import type { Client } from "../client.ts";
import type { Subscription } from "../subscription.ts";
import { type Change, encodeChange } from "./codec.ts";

/** Most changes in one message, so that encoding it does not block the event loop. */
const MAX_CHANGES = 2_000;
/** Longest info of a client that is sent to peers, in bytes. */
const MAX_INFO_BYTES = 16 * 1024;

type Entry = Client | Subscription;

export class LocalEntries {
  /** By ascending key, and their keys. */
  readonly #entries = new Map<number, Entry>();
  readonly #keys = new Map<Entry, number>();
  #key = 0;

  /** Adds an entry. Returns the change for peers. */
  add(entry: Entry): Change {
    const key = ++this.#key;
    this.#entries.set(key, entry);
    this.#keys.set(entry, key);
    return this.#toChange(key, entry);
  }

  has(entry: Entry): boolean {
    return this.#keys.has(entry);
  }

  /** Removes an entry. Returns its key; undefined if it was not there. */
  remove(entry: Entry): number | undefined {
    const key = this.#keys.get(entry);
    if (key === undefined) return undefined;
    this.#keys.delete(entry);
    this.#entries.delete(key);
    return key;
  }

  /** The entries with a higher key, as changes. */
  *after(after: number): Generator<Change> {
    for (const [key, entry] of this.#entries) if (key > after) yield this.#toChange(key, entry);
  }

  #toChange(key: number, entry: Entry): Change {
    if (!("selector" in entry)) {
      const { id, name, user, info, protocol, since, address } = entry;
      return ["client", key, { id, name, user, info: bound(info), protocol, since, address }];
    }
    const client = this.#keys.get(entry.client) ?? 0;
    const { user } = entry.member;
    const channelInfo = bound(entry.member.channelInfo);
    const change = ["subscription", key, client, encodeSelector(entry.selector)] as const;
    if (user !== undefined && user !== entry.client.user) return [...change, channelInfo ?? null, user];
    return channelInfo === undefined ? change : [...change, channelInfo];
  }
}

/**
 * Encodes changes in groups for one message each.
 *
 * @param room bytes of the largest message
 */
export function* encodeInGroups(changes: Iterable<Change>, room: number): Iterable<readonly string[]> {
  let written: string[] = [];
  let bytes = 0;
  for (const change of changes) {
    const text = encodeChange(change);
    const size = utf8Length(text) + 1;
    if (written.length === MAX_CHANGES || (written.length > 0 && bytes + size > room)) {
      yield written;
      written = [];
      bytes = 0;
    }
    written.push(text);
    bytes += size;
  }
  if (written.length > 0) yield written;
}

function bound(info: string | undefined): string | undefined {
  return info === undefined || utf8Length(info) <= MAX_INFO_BYTES ? info : undefined;
}
