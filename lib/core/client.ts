/** A client as the hub knows it: one connection of one person or program, whatever protocol it speaks. */
import type { MessagingError } from "./errors.ts";
import type { Connection } from "./limits.ts";
import type { Payload, Sender } from "./message.ts";
import type { Outbox } from "./outbox.ts";
import type { Member } from "./presence.ts";
import type { Encoder, Socket } from "./socket.ts";

/** Built by a protocol when a socket opens; the hub tells clients apart by identity, their ids may repeat. */
export interface Client extends Member {
  /** IP address of the other end, as far as it is known. */
  readonly address: string;
  /** Whether nobody but the client vouches for its id: it chose one, on an open server. */
  readonly choseId?: boolean;
  readonly socket: Socket;
  readonly outbox: Outbox;
  readonly encoder: Encoder;
  /** Whether it gets the messages that came in on its own socket. */
  readonly echo: boolean;
  /** Ends the connection, telling the client why in its protocol's words. Must not throw. */
  end(error: MessagingError): void;
  /** What can be asked of it, if its protocol has words for that. */
  readonly control?: ClientControl;
}

/** What a protocol says of a client it has let in. */
export interface ClientOptions
  extends Pick<Client, "choseId" | "socket" | "outbox" | "encoder" | "echo" | "end" | "control">, Sender {
  /** Shown in presence and logs. */
  readonly protocol: string;
  readonly connection: Pick<Connection, "address">;
}

/** Builds a client, from now on. Every protocol's come from here. */
export function createClient(options: ClientOptions): Client {
  const { id, name, user, info, choseId = false, connection, protocol } = options;
  const { socket, outbox, encoder, echo, end, control } = options;
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
    ...(control === undefined ? {} : { control }),
  };
}

/** The client as others may see it, in what it publishes. */
export function describeSender({ id, name, user, info }: Sender): Sender {
  return { id, name, user, info };
}

/** What an operator may do to a client whose protocol provides for it. Methods answer whether anything changed. */
export interface ClientControl {
  /** Ends the connection with a code and reason of the protocol's. */
  disconnect(code: number, reason: string): void;
  /** Subscribes the client on the server's behalf. Resolves when it is subscribed. */
  subscribe(channel: string, options: ServerSubscribeOptions): Promise<boolean>;
  /** Ends a subscription with a code and reason of the protocol's. */
  unsubscribe(channel: string, code: number, reason: string): boolean;
  /** Moves the end of the connection: seconds since 1970, 0 for none. An expired one is ended. */
  refresh(expires: number): void;
}

export interface ServerSubscribeOptions {
  /** Shown to others on the channel, as JSON text. */
  readonly info?: string | undefined;
  /** Handed to the client with the subscription. */
  readonly data?: Payload | undefined;
  /** When the subscription ends, in seconds since 1970; 0 for never. */
  readonly expires?: number;
}

/** Longest client id and name, in characters. */
export const MAX_CLIENT_ID_LENGTH = 100;
export const MAX_CLIENT_NAME_LENGTH = 100;

/**
 * Checks a client id: 1 to 100 characters that stand in a URL path segment as they are, so that `/@id` names it.
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
 * Checks the name others see: 1 to 100 characters, no control characters.
 *
 * @throws {SyntaxError} naming what is allowed
 */
export function parseClientName(name: string): string {
  if (
    name.length === 0 || name.length > MAX_CLIENT_NAME_LENGTH || /\p{Cc}/u.test(name)
  ) {
    throw new SyntaxError(`A name has 1 to ${MAX_CLIENT_NAME_LENGTH} characters and no control characters`);
  }
  return name;
}
