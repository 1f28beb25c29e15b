/** Opens the session of a client that has its client id: takes up what is stored of it. Connections call it. */
import type { Pass } from "../../auth/pass.ts";
import { describeShare } from "../../core/pool.ts";
import { mayTakeOver } from "./client_ids.ts";
import type { IConnectPacket } from "./codec.ts";
import type { SessionConnection } from "./context.ts";
import { REASONS } from "./reasons.ts";
import { Refusal, takenId } from "./refusal.ts";
import { MqttSession } from "./session.ts";

export interface OpenedSession {
  readonly session: MqttSession;
  /** Whether it is one that the client had before. */
  readonly isPresent: boolean;
}

/**
 * Opens the session, and has the will kept. Whoever had the client id before has stored the session by now.
 *
 * @param hasEnded whether the connection has ended meanwhile: it may have been taken over, too
 * @returns undefined if it has ended: nothing of the session goes on then, and its will is not kept
 * @throws {Refusal} if the session is another user's, or the server keeps enough of them
 * @throws {MessagingError} `share_used_up`, and what the engine and the application reject with
 */
export async function openSession(
  connection: SessionConnection,
  packet: IConnectPacket,
  pass: Pass,
  hasEnded: () => boolean,
): Promise<OpenedSession | undefined> {
  const { context: { store }, clientId } = connection;
  const { record, revision } = await store.load(clientId);
  if (hasEnded()) return undefined;
  if (record !== undefined && !mayTakeOver(pass, record)) throw takenId();
  const session = new MqttSession(connection, packet, pass, revision);
  const kept = packet.clean === true ? undefined : record;
  let isOpen = false;
  try {
    if (session.expiry > 0 && record === undefined) countSession(connection, session);
    await session.restore(kept, revision > 0, hasEnded);
    if (record !== undefined && kept === undefined && !hasEnded()) await store.forgetPacketIds(record);
    if (!hasEnded()) await session.meetWill(kept !== undefined, hasEnded);
    if (!hasEnded()) await session.armWill(hasEnded);
    isOpen = !hasEnded();
  } finally {
    if (!isOpen) await session.abandon();
  }
  return isOpen ? { session, isPresent: kept !== undefined } : undefined;
}

function countSession({ context, clientId }: SessionConnection, { owner }: MqttSession): void {
  const shortage = context.store.claim(clientId, owner);
  if (shortage?.isShare) {
    throw describeShare(shortage, "MQTT sessions that outlive connections", "end some");
  }
  if (shortage === undefined) return;
  throw new Refusal(REASONS.quotaExceeded, "The server keeps enough sessions: raise --mqtt-max-sessions");
}
