/** The Client port: one connection of a person or program, as the hub sees it in any protocol. */
import { MessagingError } from "./errors.ts";
import type { Connection } from "./limits.ts";
import type { Position } from "./log.ts";
import type { Payload, Sender } from "./message.ts";
import type { Outbox } from "./outbox.ts";
import type { Member } from "./presence.ts";
import type { Tags } from "./tags.ts";
import type { Encoder, Socket } from "./socket.ts";

/** Built by a protocol when a socket opens. The hub compares clients by object identity: several may share an id. */
export interface Client extends Member {
  /** IP address of the other end, as far as known. */
  readonly address: string;
  /** Whether the client chose its id, on an open server, and no token confirms it. */
  readonly choseId?: boolean;
  /** Texts by name, by which operators select it. */
  readonly labels?: Tags | undefined;
  readonly socket: Socket;
  readonly outbox: Outbox;
  readonly encoder: Encoder;
  /** Whether the client receives the messages that it published on this socket. */
  readonly echo: boolean;
  /** Whether the client wants to know what is removed from its channels, in the words of its encoder. */
  readonly hearsRemovals?: boolean;
  /** Ends the connection and tells the client why, as its protocol does. Must not throw. */
  end(error: MessagingError): void;
  /** Commands to the client; undefined if its protocol has none. */
  readonly control?: ClientControl;
}

/** What a protocol says of a client it has let in. */
export interface ClientOptions extends
  Pick<
    Client,
    "choseId" | "labels" | "socket" | "outbox" | "encoder" | "echo" | "hearsRemovals" | "end" | "control"
  >,
  Sender {
  /** Shown in presence and logs. */
  readonly protocol: string;
  readonly connection: Pick<Connection, "address">;
}

/** Builds a client, from now on. Every protocol's come from here. */
export function createClient(options: ClientOptions): Client {
  const { id, name, user, info, choseId = false, connection, protocol } = options;
  const { socket, outbox, encoder, echo, hearsRemovals, end, control, labels } = options;
  for (const text of [id, name, user, info]) {
    // Protocols and tokens check what they read: this is for one that forgets to.
    if (text?.isWellFormed() === false) throw new MessagingError("bad_option", "A client's name is no text");
  }
  return {
    id,
    choseId,
    address: connection.address,
    name,
    user,
    info,
    protocol,
    since: Date.now(),
    socket,
    outbox,
    encoder,
    echo,
    end,
    ...(hearsRemovals === true ? { hearsRemovals } : {}),
    ...(control === undefined ? {} : { control }),
    ...(labels === undefined ? {} : { labels }),
  };
}

/** The client as others may see it, in what it publishes. */
export function describeSender({ id, name, user, info }: Sender): Sender {
  return { id, name, user, info };
}

/** What an operator can do to a client whose protocol supports it. */
export interface ClientControl {
  /** Ends the connection with a code and reason of its protocol. */
  disconnect(code: number, reason: string): void;
  /** Subscribes the client. Resolves once it is subscribed, to whether it was not before. */
  subscribe(channel: string, options: ServerSubscribeOptions): Promise<boolean>;
  /** Ends a subscription with a code and reason of its protocol. Returns whether there was one. */
  unsubscribe(channel: string, code: number, reason: string): boolean;
  /**
   * Sets when the connection expires, in seconds since 1970; 0 for never. Ends it if that has passed.
   *
   * @param info JSON text that others see of the client from now on; left out, it stays as it is
   */
  refresh(expires: number, info?: string): void;
}

export interface ServerSubscribeOptions {
  /** JSON text that others on the channel see. */
  readonly info?: string | undefined;
  /** Payload that the client gets with the subscription. */
  readonly data?: Payload | undefined;
  /** When the subscription ends, in seconds since 1970; 0 for never. */
  readonly expires?: number;
  /** Where to go on from: what was stored after it is sent. */
  readonly since?: Position | undefined;
}

/** Longest client id and name, in characters. */
export const MAX_CLIENT_ID_LENGTH = 100;
export const MAX_CLIENT_NAME_LENGTH = 100;

/**
 * Checks a client id: 1 to 100 characters that need no escape in a URL path, so that `/@id` names it.
 *
 * @throws {SyntaxError} naming what is allowed
 */
export function parseClientId(id: string): string {
  if (!/^[A-Za-z0-9_\-=@.:~]+$/.test(id) || id.length > MAX_CLIENT_ID_LENGTH) {
    throw new SyntaxError(
      `Client id ${JSON.stringify(id.slice(0, MAX_CLIENT_ID_LENGTH))}: use 1 to ${MAX_CLIENT_ID_LENGTH} ` +
        "characters of A-Z a-z 0-9 _ - = @ . : ~",
    );
  }
  return id;
}

/**
 * Checks a display name: 1 to 100 characters, no control characters, no half of a surrogate pair.
 *
 * @throws {SyntaxError} naming what is allowed
 */
export function parseClientName(name: string): string {
  if (
    name.length === 0 || name.length > MAX_CLIENT_NAME_LENGTH || /[\p{Cc}\p{Cs}]/u.test(name)
  ) {
    throw new SyntaxError(
      `A name must have 1 to ${MAX_CLIENT_NAME_LENGTH} characters of text and no control characters`,
    );
  }
  return name;
}
