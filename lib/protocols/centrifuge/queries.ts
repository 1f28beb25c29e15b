/** Answers of the Centrifuge protocol that read and change nothing: presence and history. */
import { readHistory } from "../../core/history.ts";
import { describeHistoryOff, describePresenceOff } from "../../core/rules.ts";
import type { HistoryRequest, HistoryResult, PresenceResult, PresenceStatsResult } from "./codec.ts";
import { toClientInfo, toPublication } from "./encoders.ts";
import { CommandError, ERRORS } from "./errors.ts";
import type { CentrifugeContext } from "./session.ts";

type Context = Pick<CentrifugeContext, "hub" | "rules">;

/** Who is on a channel, by client id; clients of other protocols may share one, and are told apart by a number. */
export function answerPresence({ hub, rules }: Context, channel: string): PresenceResult {
  demandPresence(rules, channel);
  const members = hub.presence.listById(channel);
  return { presence: new Map([...members].map(([id, member]) => [id, toClientInfo(member)])) };
}

export function answerPresenceStats({ hub, rules }: Context, channel: string): PresenceStatsResult {
  demandPresence(rules, channel);
  const { connections, users } = hub.presence.count(channel);
  return { numClients: connections, numUsers: users };
}

/** Reads stored publications, forwards after a position or backwards from one. */
export async function answerHistory(
  { hub, rules }: Context,
  request: HistoryRequest,
): Promise<HistoryResult> {
  const { channel, since, reverse } = request;
  if (rules.for(channel).ephemeral) {
    throw new CommandError(
      ERRORS.notAvailable,
      describeHistoryOff(channel),
    );
  }
  const { epoch } = hub.top;
  if (since !== undefined && since.epoch !== "" && since.epoch !== epoch) {
    throw new CommandError(ERRORS.unrecoverablePosition);
  }
  if (reverse && since?.offset === 0) {
    throw new CommandError(ERRORS.badRequest, "Nothing comes before offset 0");
  }
  const { messages, position } = await readHistory(hub, request);
  return { publications: messages.map(toPublication), epoch: position.epoch, offset: position.offset };
}

function demandPresence(rules: Context["rules"], channel: string): void {
  if (rules.for(channel).presence) return;
  throw new CommandError(
    ERRORS.notAvailable,
    describePresenceOff(channel),
  );
}
