/** What the name of a Pusher channel says of it (https://pusher.com/docs/channels/using_channels/channels/). */

/** What a channel is for. */
export interface ChannelKind {
  /** Whether subscribing takes a signature, or a sign-in for the channel of a user. */
  readonly isPrivate: boolean;
  readonly isPresence: boolean;
  /** Whether a new subscriber gets the last event. */
  readonly isCache: boolean;
  /** Whether its data is encrypted end to end: clients may not publish there. */
  readonly isEncrypted: boolean;
  /** Whose channel it is, where it is one user's. */
  readonly user: string | undefined;
}

const USER_CHANNEL = "#server-to-user-";

/** Longest name of a channel, in characters. */
const MAX_LENGTH = 200;

/** Longest id of a user who signs in: its channel's name has the limit of all. */
export const MAX_USER_ID = MAX_LENGTH - USER_CHANNEL.length;

/** The kind of a channel, by its name in the app. */
export function parseKind(name: string): ChannelKind {
  const user = name.startsWith(USER_CHANNEL) ? name.slice(USER_CHANNEL.length) : undefined;
  const isPresence = name.startsWith("presence-");
  const isEncrypted = name.startsWith("private-encrypted-");
  return {
    isPrivate: user !== undefined || isPresence || name.startsWith("private-"),
    isPresence,
    isCache: /^(?:private-encrypted-|private-|presence-)?cache-/.test(name),
    isEncrypted,
    user,
  };
}

/** The channel of events to one user. */
export function userChannel(user: string): string {
  return USER_CHANNEL + user;
}

/** Whether a name is one that Pusher's servers accept, or the channel of a user whose id a channel's name can hold. */
export function isChannelName(name: string): boolean {
  return name.length <= MAX_LENGTH &&
    /^(?:[A-Za-z0-9_\-=@,.;]+|#server-to-user-[A-Za-z0-9_\-=@,.;:#$~!'()+]+)$/.test(name);
}

/** Whether a text is a socket id: two whole numbers with a dot between. */
export function isSocketId(text: string): boolean {
  return /^\d{1,16}\.\d{1,16}$/.test(text);
}
