/**
 * What is remembered of a session when its connection is gone: subscriptions with the position each has reached in the
 * log, and the packet ids in flight. The engine keeps it, so that a session survives a kill and moves between nodes.
 */
import { createHash } from "node:crypto";
import type { LogState } from "../../core/log.ts";

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
  /** Seconds it is kept without its client. */
  readonly expiry: number;
  /** When it ends, in milliseconds since 1970. */
  readonly expiresAt: number;
  readonly subscriptions: readonly StoredSubscription[];
  readonly inflight: readonly StoredInflight[];
  /** QoS 2 messages of the client that it has not released, each with the key under which the log stored it. */
  readonly received: readonly (readonly [packetId: number, key: string])[];
}

export interface LoadedSession {
  /** Undefined for a new session, and one that has expired. */
  readonly record: SessionRecord | undefined;
  readonly revision: number;
}

/** Checks this many known sessions for expiry at each write. */
const SWEPT_SESSIONS = 4;

export class SessionStore {
  readonly #state: LogState;
  readonly #expiries = new Map<string, number>();
  #sweep: Iterator<[string, number]> = [].values();

  constructor(state: LogState) {
    this.#state = state;
  }

  /** The number of sessions that this node has stored and that have not expired. */
  get size(): number {
    return this.#expiries.size;
  }

  /** Reads a session by its client id. */
  async load(clientId: string): Promise<LoadedSession> {
    const entry = await this.#state.read(keyOf(clientId));
    const record = entry === undefined || entry.value === "" ? undefined : parseRecord(entry.value);
    const isAlive = record !== undefined && record.expiresAt > Date.now();
    return { record: isAlive ? record : undefined, revision: entry?.revision ?? 0 };
  }

  /**
   * Writes a session.
   *
   * @param record undefined removes what was kept
   * @returns the new revision; undefined if another node has taken the session over
   */
  async save(
    clientId: string,
    record: SessionRecord | undefined,
    revision: number,
  ): Promise<number | undefined> {
    const key = keyOf(clientId);
    const value = record === undefined ? "" : JSON.stringify(record);
    if (record === undefined) this.#expiries.delete(key);
    else this.#expiries.set(key, record.expiresAt);
    const written = await this.#state.write(key, value, revision);
    await this.#removeExpired();
    return written;
  }

  async #removeExpired(): Promise<void> {
    for (let i = 0; i < SWEPT_SESSIONS; i++) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#expiries.entries();
        return;
      }
      const [key, expiresAt] = next.value;
      if (expiresAt > Date.now()) continue;
      this.#expiries.delete(key);
      const entry = await this.#state.read(key);
      if (entry === undefined || entry.value === "") continue;
      if (parseRecord(entry.value).expiresAt > Date.now()) continue;
      await this.#state.write(key, "", entry.revision);
    }
  }
}

function keyOf(clientId: string): string {
  // Client ids are any text.
  return `mqtt-session-${createHash("sha256").update(clientId).digest("hex")}`;
}

function parseRecord(text: string): SessionRecord {
  return JSON.parse(text) as SessionRecord;
}
