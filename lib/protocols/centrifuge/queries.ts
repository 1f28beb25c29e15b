/** Answers of the Centrifuge protocol that read and change nothing: presence and history. */
import { SliceClock } from "../../base/slices.ts";
import { MessagingError } from "../../core/errors.ts";
import { readHistory } from "../../core/history.ts";
import type { Hub } from "../../core/hub.ts";
import type {
  ClientInfo,
  HistoryRequest,
  HistoryResult,
  PresenceResult,
  PresenceStatsResult,
} from "./codec.ts";
import { toClientInfo, toPublication } from "./encoders.ts";

/** Who is on a channel, by client id; clients of other protocols may share one, and are told apart by a number. */
export async function answerPresence(hub: Hub, channel: string): Promise<PresenceResult> {
  await hub.untilCurrent();
  const presence = new Map<string, ClientInfo>();
  const clock = new SliceClock();
  for (const [id, member] of hub.presence.byId(channel)) {
    presence.set(id, toClientInfo(member));
    if (clock.isOver) await clock.next();
  }
  return { presence };
}

export async function answerPresenceStats(hub: Hub, channel: string): Promise<PresenceStatsResult> {
  await hub.untilCurrent();
  const { connections, users } = hub.presence.count(channel);
  return { numClients: connections, numUsers: users };
}

/**
 * Reads stored publications, forwards after a position or backwards from one.
 *
 * @throws {MessagingError} `history_gone` for a position of another epoch, `bad_request`
 */
export async function answerHistory(hub: Hub, request: HistoryRequest): Promise<HistoryResult> {
  const { since, reverse } = request;
  const { epoch } = hub.top;
  if (since !== undefined && since.epoch !== "" && since.epoch !== epoch) {
    throw new MessagingError("history_gone", "unrecoverable position");
  }
  if (reverse && since?.offset === 0) {
    throw new MessagingError("bad_request", "Nothing comes before offset 0");
  }
  const { messages, position } = await readHistory(hub, request);
  return { publications: messages.map(toPublication), epoch: position.epoch, offset: position.offset };
}
