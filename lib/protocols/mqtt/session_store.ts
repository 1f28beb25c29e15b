/**
 * What is remembered of a session when its connection is gone: subscriptions with the position each has reached in the
 * log, and the packet ids in flight. The engine keeps it, so that a session survives a kill and moves between nodes.
 */
import { createHash } from "node:crypto";
import type { LogState } from "../../core/log.ts";
import { type Place, Pool, type Shortage } from "../../core/pool.ts";
import { Shares } from "../../core/shares.ts";
import { listPacketIds, PacketIds } from "./packet_ids.ts";

/** A subscription with the position up to which its messages were handed over. */
export interface StoredSubscription {
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** Subscription identifier. */
  readonly identifier: number | undefined;
  readonly epoch: string;
  readonly sequence: number;
}

/** What is remembered of a subscription. */
export function toStoredSubscription(subscription: StoredSubscription): StoredSubscription {
  const { filter, qos, noLocal, retainAsPublished, identifier, epoch, sequence } = subscription;
  return { filter, qos, noLocal, retainAsPublished, identifier, epoch, sequence };
}

/** A message that the client has not acknowledged. */
export interface StoredInflight {
  readonly packetId: number;
  readonly qos: 1 | 2;
  /** PUBREC has come: only PUBREL is sent again. */
  readonly released: boolean;
  readonly filter: string;
  readonly channel: string;
  readonly epoch: string;
  readonly sequence: number;
  readonly retain: boolean;
}

export interface SessionRecord {
  /** Whose it is: another user may not take it over. */
  readonly user: string | undefined;
  /** Whether it was connected with an API key: without one, nobody may take it over. */
  readonly hasKey?: boolean;
  /** Whose share it counts for, as `Shares.ownerOf` says. */
  readonly owner?: string | undefined;
  /** Seconds it is kept without its client. */
  readonly expiry: number;
  /** When it ends, in milliseconds since 1970. */
  readonly expiresAt: number;
  readonly subscriptions: readonly StoredSubscription[];
  readonly inflight: readonly StoredInflight[];
  /** Names this life of the session in the markers of packet ids. */
  readonly incarnation: string;
  /** QoS 2 messages of the client that it has not released, as far as known when the record was written. */
  readonly packetIds: readonly number[];
}

export interface LoadedSession {
  /** Undefined for a new session, and one that has expired. */
  readonly record: SessionRecord | undefined;
  /** Of what the engine keeps, expired or not; 0 for nothing. */
  readonly revision: number;
}

const PREFIX = "mqtt-session-";

/** Known sessions that are looked at for their expiry at each write. */
const SWEPT_SESSIONS = 4;

/** How long a session that begins is counted before it is stored. */
const CLAIM_MILLISECONDS = 60_000;

export interface SessionStoreOptions {
  /** Most sessions that are kept. */
  readonly maxSessions: number;
  /** How many of them one user or address may have; all if left out. */
  readonly shares?: Shares | undefined;
}

/** What nodes tell each other: a session that begins, or without `expiresAt` one that has ended. */
export interface SessionChange {
  readonly key: string;
  /** Milliseconds since 1970. */
  readonly expiresAt?: number;
  readonly owner?: string | undefined;
}

/** What is known of a session without reading it. */
interface Known {
  readonly expiresAt: number;
  readonly place: Place;
}

export class SessionStore {
  readonly #state: LogState;
  readonly #known = new Map<string, Known>();
  readonly #pool: Pool;
  #sweep: Iterator<[string, Known]> = [].values();
  /** Called with what the other nodes are to know, as sessions count for all of them. */
  onChange: (change: SessionChange) => void = () => {};

  constructor(state: LogState, options: SessionStoreOptions = { maxSessions: Infinity }) {
    const { maxSessions: maxCount, shares = new Shares() } = options;
    this.#state = state;
    this.#pool = new Pool({ maxCount, shares });
  }

  /** The number of sessions that this node has found, stored or heard of, and that have not expired. */
  get size(): number {
    return this.#known.size;
  }

  /**
   * Counts a session that is about to be stored for the first time.
   *
   * @param owner whose share it counts for
   * @returns what there is too little of, and then it is not counted
   */
  claim(clientId: string, owner: string | undefined): Shortage | undefined {
    const key = keyOf(clientId);
    const shortage = this.#pool.findShortage({ owner, bytes: 0 }, this.#known.get(key)?.place);
    if (shortage !== undefined) return shortage;
    const expiresAt = Date.now() + CLAIM_MILLISECONDS;
    this.#note(key, expiresAt, owner);
    this.onChange({ key, expiresAt, owner });
    return undefined;
  }

  /** Takes what another node tells. Sessions that it prolongs are looked up when they seem to have expired. */
  hear({ key, expiresAt, owner }: SessionChange): void {
    if (expiresAt === undefined) this.#forget(key);
    else this.#note(key, expiresAt, owner);
  }

  #note(key: string, expiresAt: number, owner: string | undefined): void {
    this.#forget(key);
    const place = { owner, bytes: 0 };
    this.#pool.add(place);
    this.#known.set(key, { expiresAt, place });
  }

  #forget(key: string): void {
    const known = this.#known.get(key);
    if (known === undefined) return;
    this.#pool.remove(known.place);
    this.#known.delete(key);
  }

  /**
   * Finds the sessions that were stored before: counts them, and removes those that have expired, with packet ids whose
   * session is gone.
   */
  async scan(): Promise<void> {
    // The packet ids first: the session of each was stored before it.
    const packetIds = await Array.fromAsync(listPacketIds(this.#state));
    const incarnations = new Set<string>();
    for await (const { key, value, revision } of this.#state.list(PREFIX)) {
      const record = value === "" ? undefined : parseRecord(value);
      if (record === undefined || record.expiresAt <= Date.now()) {
        this.#forget(key);
        await this.#state.delete(key, revision);
      } else {
        this.#note(key, record.expiresAt, record.owner);
        incarnations.add(record.incarnation);
      }
    }
    for (const { key, incarnation, revision } of packetIds) {
      if (!incarnations.has(incarnation)) await this.#state.delete(key, revision);
    }
  }

  /** Removes the sessions that have expired. */
  async removeExpired(): Promise<void> {
    for (const [key, { expiresAt }] of this.#known) {
      if (expiresAt <= Date.now()) await this.#removeIfExpired(key);
    }
  }

  /** Reads a session by its client id. */
  async load(clientId: string): Promise<LoadedSession> {
    const entry = await this.#state.read(keyOf(clientId));
    const record = entry === undefined || entry.value === "" ? undefined : parseRecord(entry.value);
    const isAlive = record !== undefined && record.expiresAt > Date.now();
    if (record !== undefined && !isAlive) await this.forgetPacketIds(record);
    return { record: isAlive ? record : undefined, revision: entry?.revision ?? 0 };
  }

  /**
   * Writes a session.
   *
   * @param record undefined removes what was kept
   * @returns the new revision, 0 for nothing; undefined if another node has taken the session over
   */
  async save(
    clientId: string,
    record: SessionRecord | undefined,
    revision: number,
  ): Promise<number | undefined> {
    const key = keyOf(clientId);
    if (record === undefined) {
      if (this.#known.has(key)) this.onChange({ key });
      this.#forget(key);
      return revision === 0 || await this.#state.delete(key, revision) ? 0 : undefined;
    }
    this.#note(key, record.expiresAt, record.owner);
    const written = await this.#state.write(key, JSON.stringify(record), revision);
    await this.#sweepSome();
    return written;
  }

  /** Frees the packet ids of a session that has ended. */
  async forgetPacketIds({ incarnation, packetIds }: SessionRecord): Promise<void> {
    await new PacketIds(this.#state, incarnation).releaseAll(packetIds);
  }

  async #sweepSome(): Promise<void> {
    for (let i = 0; i < SWEPT_SESSIONS; i++) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#known.entries();
        return;
      }
      const [key, { expiresAt }] = next.value;
      if (expiresAt <= Date.now()) await this.#removeIfExpired(key);
    }
  }

  /** Another node may have prolonged it. */
  async #removeIfExpired(key: string): Promise<void> {
    const entry = await this.#state.read(key);
    const record = entry === undefined || entry.value === "" ? undefined : parseRecord(entry.value);
    if (record !== undefined && record.expiresAt > Date.now()) {
      this.#note(key, record.expiresAt, record.owner);
      return;
    }
    this.#forget(key);
    if (entry !== undefined && await this.#state.delete(key, entry.revision) && record !== undefined) {
      await this.forgetPacketIds(record);
    }
  }
}

/** A client id, which is any text, as a part of keys. */
export function hashClientId(clientId: string): string {
  return createHash("sha256").update(clientId).digest("hex");
}

function keyOf(clientId: string): string {
  return PREFIX + hashClientId(clientId);
}

function parseRecord(text: string): SessionRecord {
  return { incarnation: crypto.randomUUID(), packetIds: [], ...JSON.parse(text) } as SessionRecord;
}
