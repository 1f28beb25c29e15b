/**
 * The plain protocol: a WebSocket on a channel's URL, text and binary frames, nothing else. What one client sends
 * goes to everyone else on the channel, what others publish comes to it.
 */
import { formatSelector } from "../../core/channel.ts";
import { type Client, createClient, describeSender } from "../../core/client.ts";
import { Serial } from "../../base/serial.ts";
import { createDraft, type DraftOptions } from "../../core/draft.ts";
import { cutReason, MessagingError, toMessagingError } from "../../core/errors.ts";
import { utf8Length } from "../../base/utf8.ts";
import { type Message, type Payload, showPayload } from "../../core/message.ts";
import { Outbox } from "../../core/outbox.ts";
import { findResumeId } from "../../core/replay.ts";
import { encodeBatch, type Encoder, Frame, type Socket, type SocketHandler } from "../../core/socket.ts";
import type { Subscription } from "../../core/subscription.ts";
import { type Services, watchExpiry } from "../protocol.ts";
import type { EarlyMessages } from "./early.ts";
import { isEcho } from "./echo.ts";
import { findReply, type Reply } from "./replies.ts";
import type { SessionRequest } from "./session.ts";

/** One message, one frame: bytes as a binary frame, text and JSON as a text frame. */
export const PLAIN_ENCODER: Encoder = { kind: "single", encode: encodePlain };

function encodePlain({ payload }: Message): Frame {
  return new Frame(payload.kind === "bytes" ? payload.bytes : showPayload(payload));
}

/** Messages of one client that may wait for the application to decide. */
const MAX_WAITING_MESSAGES = 64;
/** Answers to one client that may wait for what other threads tell, which takes them about a millisecond. */
const MAX_WAITING_ANSWERS = 1_000;

/**
 * Opens a plain session on the channels of a request. Lists and patterns can only be read.
 *
 * @param early what comes until the socket is open
 */
export function openPlainSession(
  services: Services,
  request: SessionRequest,
  early?: EarlyMessages,
): SocketHandler {
  return new PlainSession(services, request, early);
}

class PlainSession implements SocketHandler {
  readonly #services: Services;
  readonly #request: SessionRequest;
  #client: Client | undefined;
  /** Messages that wait for the application. */
  #asked: Serial | undefined;
  /** Answers that wait for other threads. */
  #answers: Serial | undefined;
  #forgetExpiry: () => void = () => {};
  #early: EarlyMessages | undefined;

  constructor(services: Services, request: SessionRequest, early: EarlyMessages | undefined) {
    this.#services = services;
    this.#request = request;
    this.#early = early;
  }

  open(socket: Socket): void {
    try {
      this.#open(socket);
    } finally {
      this.#endEarly();
    }
  }

  #open(socket: Socket): void {
    const { hub, outboxLimits } = this.#services;
    const { id, choseId, connection, name, pass, selector, since, limit } = this.#request;
    const client = createClient({
      id,
      choseId,
      connection,
      name,
      user: pass.user,
      info: pass.info,
      labels: pass.labels,
      protocol: "plain",
      socket,
      outbox: new Outbox(socket, outboxLimits),
      encoder: PLAIN_ENCODER,
      echo: false,
      end: (error) => {
        hub.metrics.refused(error.code, {
          what: `plain ${formatSelector(selector)}`,
          message: error.message,
          client: id,
        });
        socket.close(error.close, cutReason(error.message));
        if (error.code === "slow_subscriber") socket.terminate();
        this.close(error.close);
      },
    });
    this.#client = client;
    if (!hub.connect(client, formatSelector(selector))) return;
    const early = this.#early === undefined ? [] : this.#early.messages;
    if (early === undefined) {
      return client.end(new MessagingError("slow_subscriber", "Too much was published meanwhile: reconnect"));
    }
    this.#forgetExpiry = watchExpiry(this.#services, pass, client);
    // Most sockets only wait for what comes: theirs is no memory for what cannot happen.
    if (since === undefined && limit === undefined) {
      return this.#sendEarly(hub.subscribe(client, selector), early);
    }
    const subscription = hub.subscribe(client, selector, {
      since,
      limit,
      onGap: (gap) => {
        const id = findResumeId(gap);
        client.end(
          new MessagingError(
            "history_gone",
            `History since then is gone: read what is left with since=${id}`,
          ),
        );
        return false;
      },
      onLimit: () => socket.close(1000, "limit reached"),
    });
    // Else the history has it.
    if (since === undefined) this.#sendEarly(subscription, early);
  }

  #sendEarly(subscription: Subscription, early: readonly Message[]): void {
    if (early.length > 0) subscription.take(early, encodeBatch(PLAIN_ENCODER, early), false);
  }

  #endEarly(): void {
    this.#early?.[Symbol.dispose]();
    this.#early = undefined;
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
    this.#endEarly();
    this.#forgetExpiry();
    if (client !== undefined) this.#services.hub.disconnect(client, code);
  }

  #receive(client: Client, data: string | Uint8Array<ArrayBuffer>): void {
    const { hub, settings: { maxMessageBytes } } = this.#services;
    const { connection, pass, selector } = this.#request;
    const { channel } = selector;
    const echoes = isEcho(channel);
    const reply = echoes || typeof data !== "string" ? undefined : findReply(data);
    const target = echoes || reply?.passedOn === false ? undefined : channel;
    const isAsked = target !== undefined && pass.asks("publish", target);
    if (target !== undefined && !isAsked) pass.demand("publish", target);
    // Answers cost as much as messages: whatever comes in counts.
    connection.countPublish();
    const size = typeof data === "string" ? utf8Length(data) : data.byteLength;
    if (size > maxMessageBytes) {
      throw new MessagingError("too_large", `Message of ${size} bytes; the limit is ${maxMessageBytes}`);
    }
    if (echoes) return this.#answer(client, data);
    if (reply !== undefined) {
      this.#reply(client, reply);
      if (target === undefined) return;
    }
    if (target === undefined) {
      throw new MessagingError(
        "bad_channel",
        "Lists and patterns are for reading: send on one channel's URL",
      );
    }
    const payload: Payload = typeof data === "string"
      ? { kind: "text", text: data }
      : { kind: "bytes", bytes: data };
    const sender = { from: describeSender(client), socketId: client.socket.id };
    const published = isAsked
      ? this.#publishAsked(target, payload, sender)
      : hub.publish(createDraft({ channel: target, payload, ...sender }));
    published.catch((error) => this.#fail(client, error));
  }

  /** Publishes what the application lets pass, in the order in which it came. */
  async #publishAsked(
    channel: string,
    payload: Payload,
    sender: Pick<DraftOptions, "from" | "socketId">,
  ): Promise<void> {
    const { hub } = this.#services;
    const turns = this.#asked ??= new Serial();
    if (turns.waiting >= MAX_WAITING_MESSAGES) {
      throw new MessagingError(
        "too_many_requests",
        "Too many messages wait for the application: send more slowly",
      );
    }
    await turns.run(async () => {
      const allowed = await this.#request.pass.admitPublish(channel, payload);
      await hub.publish(createDraft({ channel, ...allowed, ...sender }));
    });
  }

  /** Answers a text, at once unless that has to wait for other threads or for an earlier one that does. */
  #reply(client: Client, reply: Reply): void {
    const { hub } = this.#services;
    const { pass, selector } = this.#request;
    const denyPresence = () => pass.deny("presence", selector);
    const answer = () => this.#answer(client, reply.answer({ hub, channel: selector.channel, denyPresence }));
    const waiting = this.#answers?.waiting ?? 0;
    if (waiting >= MAX_WAITING_ANSWERS) {
      throw new MessagingError(
        "too_many_requests",
        "Too many answers wait for other threads: ask more slowly",
      );
    }
    const current = reply.isPresence ? hub.untilCurrent() : undefined;
    if (current === undefined && waiting === 0) return answer();
    const turns = this.#answers ??= new Serial();
    turns.run(async () => {
      await current;
      if (this.#client === client) answer();
    }).catch((error) => this.#fail(client, error));
  }

  #answer(client: Client, data: string | Uint8Array<ArrayBuffer>): void {
    if (!client.outbox.offer([new Frame(data)])) {
      client.end(new MessagingError("slow_subscriber", "Too many answers are waiting for you: read them"));
    }
  }

  /** A plain client has no other way to learn that its message was not published than the close frame. */
  #fail(client: Client, error: unknown): void {
    const known = toMessagingError(error);
    const { logger } = this.#services;
    logger.write(known.code === "internal" ? "error" : "warn", "message refused", {
      id: client.id,
      code: known.code,
      reason: known.code === "internal" ? String(known.cause) : known.message,
    });
    client.end(known);
  }
}
