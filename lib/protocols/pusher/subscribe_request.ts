/** What clients of Pusher say when they subscribe, and the words in which they are refused. */
import { utf8Length } from "../../base/utf8.ts";
import { describeSubscriptionLimit } from "../../core/limits.ts";

/** Pusher's limits of a member: its id in characters, what is said of it in bytes. */
const MAX_USER_ID = 128;
const MAX_USER_INFO_BYTES = 1_024;

/** What a `pusher:subscribe` asks for. */
export interface SubscribeRequest {
  readonly channel: string;
  readonly auth: string;
  readonly channelData: string | undefined;
  /** From where the channel is read, by clients that know positions: an extension of the protocol. */
  readonly since: unknown;
}

/** Who signed in on a connection. */
export interface SignedIn {
  readonly id: string;
  /** JSON text. */
  readonly info: string | undefined;
}

/** Why a subscription is refused, in the form of the protocol. */
export interface Refusal {
  readonly type: "AuthError" | "LimitReached" | "InvalidChannel" | "InvalidSince";
  readonly error: string;
  readonly status: number;
}

export function parseRequest(data: unknown): SubscribeRequest | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const { channel, auth, channel_data: channelData, since } = data as Record<string, unknown>;
  if (typeof channel !== "string" || channel === "") return undefined;
  return {
    channel,
    auth: typeof auth === "string" ? auth : "",
    channelData: typeof channelData === "string" ? channelData : undefined,
    since,
  };
}

/** The member that signed data describes, or why it describes none. */
export function parseUser(channelData: string): SignedIn | string {
  let value: unknown;
  try {
    value = JSON.parse(channelData);
  } catch {
    return "channel_data is not JSON: it needs user_id, and may have user_info";
  }
  const { user_id: id, user_info: info } = (value ?? {}) as Record<string, unknown>;
  // Some servers sign numbers.
  const text = typeof id === "number" ? String(id) : id;
  if (typeof text !== "string" || text === "" || text.length > MAX_USER_ID) {
    return `channel_data needs user_id, of 1 to ${MAX_USER_ID} characters`;
  }
  return checkInfo({
    id: text,
    info: info === undefined || info === null ? undefined : JSON.stringify(info),
  });
}

export function checkInfo(user: SignedIn): SignedIn | string {
  return utf8Length(user.info ?? "") > MAX_USER_INFO_BYTES
    ? `user_info has more than ${MAX_USER_INFO_BYTES} bytes`
    : user;
}

export function invalid(error: string): Refusal {
  return { type: "InvalidChannel", error, status: 400 };
}

export function limitReached(limit: number): Refusal {
  return { type: "LimitReached", error: describeSubscriptionLimit(limit).message, status: 4_004 };
}

export function denied(error: string): Refusal {
  return { type: "AuthError", error, status: 401 };
}
