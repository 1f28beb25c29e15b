/** Decides how a Centrifuge client may take a channel: by a token, by the application, or by the rules. */
import type { SubscriptionClaims, TokenSubscription } from "../../auth/claims.ts";
import type { Tie } from "../../auth/grants.ts";
import { parseChannel, selectChannel } from "../../core/channel.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Payload } from "../../core/message.ts";
import type { SubscribeRequest } from "./codec.ts";
import type { ChannelOwner } from "./context.ts";

/** How a subscription came about. */
export interface Admission {
  readonly tie: Tie;
  readonly serverSide: boolean;
  readonly info: string | undefined;
  readonly data: Payload | undefined;
  /** Seconds since 1970; 0 for never. */
  readonly expires: number;
  /** The channel's name as the client wrote it, if not as it is. */
  readonly spelling?: string;
  /** Whether the application allowed it: the client cannot refresh it. */
  readonly isAsked?: boolean;
}

/** How a channel is taken that a rule allows. */
const BY_RULE: Admission = { tie: "none", serverSide: true, info: undefined, data: undefined, expires: 0 };

/** How a channel is taken that the application allows, which decides anew when the subscription has expired. */
const BY_APPLICATION: Admission = { ...BY_RULE, tie: "token", isAsked: true };

/** How a token, or the server, subscribes a client. */
export function admitByToken(settings: TokenSubscription | undefined): Admission {
  const data: Payload | undefined = settings?.data === undefined
    ? undefined
    : { kind: "json", text: settings.data };
  return { ...BY_RULE, tie: "token", info: settings?.info, data };
}

/**
 * Decides whether a client may subscribe by command.
 *
 * @throws {MessagingError}
 */
export async function admitSubscribe(
  session: ChannelOwner,
  { channel, token, data }: SubscribeRequest,
): Promise<Admission> {
  const claims = token === "" ? undefined : await verifySubscription(session, channel, token);
  if (claims !== undefined) return { ...admitByToken(claims), serverSide: false, expires: claims.expires };
  if (session.pass.asks("subscribe", channel)) {
    const allowed = await session.pass.admitSubscription(selectChannel(channel), { token, data });
    return { ...BY_APPLICATION, ...allowed, serverSide: false };
  }
  session.demand("subscribe", channel, "none");
  return { ...BY_RULE, serverSide: false };
}

/** How a unidirectional client takes a channel it asked for; empty when it may not, and the log is told why. */
export async function admitAsked(
  session: ChannelOwner,
  channel: string,
): Promise<readonly (readonly [string, Admission])[]> {
  const { context, pass } = session;
  try {
    parseChannel(channel);
    context.hub.checkName(channel);
    if (!pass.asks("subscribe", channel)) {
      session.demand("subscribe", channel, "none");
      return [[channel, BY_RULE]];
    }
    return [[channel, { ...BY_APPLICATION, ...await pass.admitSubscription(selectChannel(channel)) }]];
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof MessagingError) return [];
    throw error;
  }
}

/**
 * What a subscription token says; undefined where tokens are not checked.
 *
 * @throws {MessagingError}
 */
export async function verifySubscription(
  { context, client }: ChannelOwner,
  channel: string,
  token: string,
): Promise<SubscriptionClaims | undefined> {
  const about = { channel, user: client.user ?? "", client: client.id };
  return await context.gate.admitSubscription(about, token);
}
