/** Answers of the Centrifuge protocol that read and change nothing: presence and history. */
import { selectChannel } from "../core/channel.ts";
import type { Cursor } from "../core/log.ts";
import type {
  ClientInfo,
  HistoryRequest,
  HistoryResult,
  PresenceResult,
  PresenceStatsResult,
} from "./centrifuge_codec.ts";
import { toClientInfo, toPublication } from "./centrifuge_encoders.ts";
import { CommandError, ERRORS } from "./centrifuge_errors.ts";
import type { CentrifugeContext } from "./centrifuge_session.ts";

/** Publications one answer holds at most. */
export const MAX_PUBLICATIONS = 300;

type Context = Pick<CentrifugeContext, "hub" | "rules">;

/** Who is on a channel, by client id; clients of other protocols may share one, and are told apart by a number. */
export function answerPresence({ hub, rules }: Context, channel: string): PresenceResult {
  demandPresence(rules, channel);
  const presence = new Map<string, ClientInfo>();
  for (const member of hub.presence.list(channel)) {
    let key = member.id;
    for (let i = 2; presence.has(key); i++) key = `${member.id}#${i}`;
    presence.set(key, toClientInfo(member));
  }
  return { presence };
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
      `History is off for "${channel}" by the rule "ephemeral": true`,
    );
  }
  const { epoch } = hub.top;
  if (since !== undefined && since.epoch !== "" && since.epoch !== epoch) {
    throw new CommandError(ERRORS.unrecoverablePosition);
  }
  if (reverse && since?.offset === 0) {
    throw new CommandError(ERRORS.badRequest, "Nothing comes before offset 0");
  }
  const wanted = request.limit < 0 ? MAX_PUBLICATIONS : Math.min(request.limit, MAX_PUBLICATIONS);
  const [after, limit] = toQuery(since, reverse, wanted);
  const page = await hub.read({ selector: selectChannel(channel), after, limit });
  const publications = page.messages.map(toPublication);
  if (reverse) publications.reverse();
  return { publications, epoch: page.position.epoch, offset: page.position.offset };
}

/** Backwards, the last ones before a position are those after a position that lies so much further back. */
function toQuery(since: HistoryRequest["since"], reverse: boolean, limit: number): [Cursor, number] {
  if (since === undefined) return [{ kind: reverse || limit === 0 ? "latest" : "earliest" }, limit];
  if (!reverse) return [{ kind: "offset", offset: since.offset }, limit];
  const first = Math.max(1, since.offset - limit);
  return [{ kind: "offset", offset: first - 1 }, since.offset - first];
}

function demandPresence(rules: Context["rules"], channel: string): void {
  if (rules.for(channel).presence) return;
  throw new CommandError(
    ERRORS.notAvailable,
    `Presence is off for "${channel}" by the rule "presence": false`,
  );
}
