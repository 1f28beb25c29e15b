/**
 * The plain protocol: a WebSocket on a channel's URL, text and binary frames, nothing else. What one client sends
 * goes to everyone else on the channel, what others publish comes to it.
 */
import type { Client } from "../../core/client.ts";
import { cutReason, MessagingError, toMessagingError } from "../../core/errors.ts";
import { type Draft, type Message, type Payload, utf8Length } from "../../core/message.ts";
import { Outbox } from "../../core/outbox.ts";
import { type Encoder, Frame, type Socket, type SocketHandler } from "../../core/socket.ts";
import { endAtExpiry, type ProtocolContext, type ReadRequest } from "../protocol.ts";
import { findReply } from "./replies.ts";

/** The channel on which everything comes back to its sender, byte for byte, and nobody else gets it. */
const ECHO = "echo";

/** One message, one frame: bytes as a binary frame, text and JSON as a text frame. */
export const PLAIN_ENCODER: Encoder = { kind: "single", encode: encodePlain };

function encodePlain({ payload }: Message): Frame {
  return new Frame(payload.kind === "bytes" ? payload.bytes : payload.text);
}

/** Opens a plain session on the channels of a request. Lists and patterns can only be read. */
export function openPlainSession(context: ProtocolContext, request: ReadRequest): SocketHandler {
  return new PlainSession(context, request);
}

class PlainSession implements SocketHandler {
  readonly #context: ProtocolContext;
  readonly #request: ReadRequest;
  #client: Client | undefined;
  #forgetExpiry: () => void = () => {};

  constructor(context: ProtocolContext, request: ReadRequest) {
    this.#context = context;
    this.#request = request;
  }

  open(socket: Socket): void {
    const { hub, outboxLimits } = this.#context;
    const { id, choseId, connection, name, user, info, expires = 0, selector, since, limit } = this.#request;
    const client: Client = {
      id,
      choseId,
      address: connection.address,
      name,
      user,
      info,
      protocol: "plain",
      since: Date.now(),
      socket,
      outbox: new Outbox(socket, outboxLimits),
      encoder: PLAIN_ENCODER,
      echo: false,
      end: (error) => {
        hub.metrics.refused(error.code, {
          what: `plain ${selector.key}`,
          message: error.message,
          client: id,
        });
        socket.close(error.close, cutReason(error.message));
        if (error.code === "slow_subscriber") socket.terminate();
        this.close(error.close);
      },
    };
    this.#client = client;
    if (!hub.connect(client, selector.channel ?? selector.key)) return;
    this.#forgetExpiry = endAtExpiry(expires, client);
    // Most sockets only wait for what comes: theirs is no memory for what cannot happen.
    if (since === undefined && limit === undefined) return void hub.subscribe(client, selector);
    hub.subscribe(client, selector, {
      since,
      limit,
      onGap: ({ earliest }) => {
        client.end(
          new MessagingError("history_gone", `History since then is gone; the earliest is ${earliest}`),
        );
        return false;
      },
      onLimit: () => socket.close(1000, "limit reached"),
    });
  }

  message(data: string | Uint8Array<ArrayBuffer>): void {
    const client = this.#client;
    if (client === undefined) return;
    try {
      this.#receive(client, data);
    } catch (error) {
      this.#fail(client, error);
    }
  }

  close(code: number): void {
    const client = this.#client;
    this.#client = undefined;
    this.#forgetExpiry();
    if (client !== undefined) this.#context.hub.disconnect(client, code);
  }

  #receive(client: Client, data: string | Uint8Array<ArrayBuffer>): void {
    const { hub, maxMessageBytes } = this.#context;
    const size = typeof data === "string" ? utf8Length(data) : data.byteLength;
    if (size > maxMessageBytes) {
      throw new MessagingError("too_large", `Message of ${size} bytes; the limit is ${maxMessageBytes}`);
    }
    // Answers cost as much as messages: whatever comes in counts.
    this.#request.connection.countPublish();
    const { deny, selector: { channel } } = this.#request;
    if (channel === ECHO) return this.#answer(client, data);
    const reply = typeof data === "string" ? findReply(data) : undefined;
    if (reply !== undefined) {
      this.#answer(client, reply.answer({ hub, channel, denyPresence: () => deny?.("presence") }));
      if (!reply.passedOn || channel === undefined) return;
    }
    if (channel === undefined) {
      throw new MessagingError(
        "bad_channel",
        "Lists and patterns are for reading: send on one channel's URL",
      );
    }
    const denial = deny?.("publish");
    if (denial !== undefined) throw denial;
    const payload: Payload = typeof data === "string"
      ? { kind: "text", text: data }
      : { kind: "bytes", bytes: data };
    const { id, name, user, info } = client;
    const draft: Draft = {
      channel,
      payload,
      from: { id, name, user, info },
      socketId: client.socket.id,
    };
    hub.publish(draft).catch((error) => this.#fail(client, error));
  }

  #answer(client: Client, data: string | Uint8Array<ArrayBuffer>): void {
    if (!client.outbox.offer([new Frame(data)])) {
      client.end(new MessagingError("slow_subscriber", "Too many answers are waiting for you: read them"));
    }
  }

  /** A plain client has no other way to learn that its message was not published than the close frame. */
  #fail(client: Client, error: unknown): void {
    const known = toMessagingError(error);
    const { logger } = this.#context;
    logger.write(known.code === "internal" ? "error" : "warn", "message refused", {
      id: client.id,
      code: known.code,
      reason: known.code === "internal" ? String(known.cause) : known.message,
    });
    client.end(known);
  }
}
