/** The personal channel of a user, `#user`, where a rule switches it on: private to the user's own connections. */
import type { ConnectionClaims } from "../../auth/claims.ts";
import { parseChannel } from "../../core/channel.ts";
import type { Rules } from "../../core/rules.ts";
import type { ChannelOwner } from "./context.ts";

/** What the names of personal channels begin with, as in Centrifugo. */
const PREFIX = "#";

/** Whether a channel is a user's own. */
export function isPersonal(channel: string, rules: Rules): boolean {
  return channel.startsWith(PREFIX) && rules.for(channel).personalChannel;
}

/** The channel that a client is subscribed to for its user's sake; undefined for none. */
export function findPersonalChannel(
  { context, client }: ChannelOwner,
  claims: ConnectionClaims | undefined,
): string | undefined {
  if (claims === undefined || claims.user === "") return undefined;
  const channel = PREFIX + claims.user;
  try {
    // Users that differ in normal form only are two, and one channel would belong to both.
    if (parseChannel(channel) !== channel) throw new SyntaxError("The user's name is not in normal form C");
    context.hub.checkName(channel);
  } catch (error) {
    // Only where the rule would hold for any name does this matter.
    if (context.rules.for(PREFIX + client.id).personalChannel) {
      const reason = error instanceof Error ? error.message : String(error);
      context.logger.write("warn", "no personal channel", { id: client.id, reason });
    }
    return undefined;
  }
  return isPersonal(channel, context.rules) ? channel : undefined;
}
