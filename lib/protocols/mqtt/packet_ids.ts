/**
 * The packet ids of QoS 2 messages that a client has published and not released (MQTT 5.0 section 4.3.3). The log keeps
 * each with its message, in one transaction, as a marker whose key holds the session's incarnation: no other session,
 * and no publisher on another way, can name it. Sessions own one.
 */
import type { LogState } from "../../core/log.ts";

const PREFIX = "mqtt-id-";

export class PacketIds {
  /** Random for each life of a session: packet ids of an earlier one count for nothing. */
  readonly incarnation: string;
  readonly #state: LogState;

  /** @param incarnation of a session that goes on; a new one if left out */
  constructor(state: LogState, incarnation: string = crypto.randomUUID()) {
    this.#state = state;
    this.incarnation = incarnation;
  }

  /** The marker of the message with a packet id. */
  markerOf(packetId: number): string {
    return `${PREFIX}${this.incarnation}-${packetId}`;
  }

  /** Frees a packet id. Returns whether there was a message with it. */
  async release(packetId: number): Promise<boolean> {
    const key = this.markerOf(packetId);
    const entry = await this.#state.read(key);
    return entry !== undefined && await this.#state.delete(key, entry.revision);
  }

  /** Frees packet ids of a session that has ended. */
  async releaseAll(packetIds: Iterable<number>): Promise<void> {
    for (const packetId of packetIds) await this.release(packetId);
  }
}

/** A packet id that the log keeps. */
export interface KeptId {
  readonly key: string;
  readonly incarnation: string;
  readonly revision: number;
}

/** All packet ids that the log keeps, of all sessions. */
export async function* listPacketIds(state: LogState): AsyncIterable<KeptId> {
  for await (const { key, revision } of state.list(PREFIX)) {
    yield { key, incarnation: key.slice(PREFIX.length, key.lastIndexOf("-")), revision };
  }
}
