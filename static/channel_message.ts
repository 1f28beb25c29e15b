/** A message as pages handle it, whichever way it came, and reading one out of what the server sends. */
import type { ClientInfo, PublicationContext } from "centrifuge";

export interface Author {
  readonly id: string;
  readonly name: string | undefined;
  /** Whom the author's token names. */
  readonly user: string | undefined;
}

export interface ChannelMessage {
  readonly channel: string;
  /** Names the life of the log; an offset means nothing in another. */
  readonly epoch: string;
  /** Counts the channel's stored messages; 0 for one that is not stored. */
  readonly offset: number;
  /** Orders the stored messages of all channels; 0 where that is not known. */
  readonly sequence: number;
  readonly time: Date;
  readonly data: unknown;
  readonly event: string | undefined;
  readonly author: Author | undefined;
}

/** The message object of the server's JSON documents and line streams. */
export interface MessageJson {
  readonly channel: string;
  readonly id?: string;
  readonly offset?: number;
  readonly time: string;
  readonly data: unknown;
  readonly event?: string;
  readonly from?: {
    readonly id: string;
    readonly name?: string;
    readonly user?: string;
    readonly info?: unknown;
  };
}

/** An id as it is in addresses; undefined where it is not known. */
export function formatId(
  { epoch, sequence }: Pick<ChannelMessage, "epoch" | "sequence">,
): string | undefined {
  return sequence > 0 ? `${epoch}-${sequence}` : undefined;
}

/** The parts of an id; undefined for a text that is none. */
export function parseId(text: string): { readonly epoch: string; readonly sequence: number } | undefined {
  const [, epoch, sequence] = /^([0-9a-z]+)-(\d{1,15})$/.exec(text) ?? [];
  return epoch === undefined ? undefined : { epoch, sequence: Number(sequence) };
}

export function readMessage(json: MessageJson): ChannelMessage {
  const { channel, id = "", offset = 0, time, data, event, from } = json;
  const [epoch = "", sequence = 0] = id.split("-");
  return {
    channel,
    epoch,
    offset,
    sequence: Number(sequence),
    time: new Date(time),
    data,
    event,
    author: from && { id: from.id, name: from.name ?? nameIn(from.info), user: from.user },
  };
}

/** What a Centrifuge client gets. It is told neither the epoch nor the time: the one is known, the other is now. */
export function readPublication(context: PublicationContext, epoch: string): ChannelMessage {
  const { channel, data, info, offset = 0, tags } = context;
  return {
    channel,
    epoch,
    offset,
    sequence: 0,
    time: new Date(),
    data,
    event: tags?.event,
    author: info && readAuthor(info),
  };
}

export function readAuthor({ client, user, connInfo }: ClientInfo): Author {
  return { id: client, name: nameIn(connInfo), user: user === "" ? undefined : user };
}

/** What to call an author; undefined for one without a name. */
export function labelOf({ name, user }: Author): string | undefined {
  return name ?? user;
}

/** A name in what a client or token says of itself, which may be anything. */
function nameIn(info: unknown): string | undefined {
  const name = (info as { name?: unknown } | null | undefined)?.name;
  return typeof name === "string" && name.trim() !== "" ? name.slice(0, 100) : undefined;
}
