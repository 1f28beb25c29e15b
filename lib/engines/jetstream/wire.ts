/** What a node of the JetStream engine says to its server and to the other nodes, and what it hears beside the stream. */
import { createInbox, headers, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { MessagingError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { Draft } from "../../core/message.ts";
import { readAck } from "./ack.ts";
import type { Ack, Entry } from "./line.ts";
import { encodeBody, encodeHead, HEAD, type Known } from "./record.ts";
import type { JetStreamSubjects } from "./subject.ts";

export interface WireOptions {
  readonly subjects: JetStreamSubjects;
  readonly logger: Logger;
  /** Takes what the server says of the record of a number. */
  onAck(number: number, ack: Ack): void;
  /** Takes messages of another node that are not stored; throws for what it does not understand. */
  onTransient(body: Uint8Array): void;
  /** Takes how far another node emptied a channel. */
  onPurged(channel: string, record: number): void;
}

const NOTHING_KNOWN: Known = { record: 0, offset: 0, time: 0 };
/** What a record's headers take beside its head, in bytes. */
const HEADER_BYTES = 100;

export class JetStreamWire {
  readonly #options: WireOptions;
  /** This life of this node, as the ids of its records begin. */
  readonly #node = crypto.getRandomValues(new Uint8Array(8)).toHex();
  readonly #acks = createInbox();
  #connection: NatsConnection | undefined;

  constructor(options: WireOptions) {
    this.#options = options;
  }

  /** The number of a record with this id, if it is one of this node's. */
  numberOf(id: string): number | undefined {
    return id.startsWith(`${this.#node}-`) ? Number(id.slice(this.#node.length + 1)) : undefined;
  }

  /** Sends a record; the same number is always the same record, which the server stores once. */
  send({ kind, channel, drafts, time, ttl, key }: Entry, number: number, known: Known = NOTHING_KNOWN): void {
    const connection = this.#connection;
    if (connection === undefined || connection.isClosed() || kind === "transient") return;
    const { subjects, onAck } = this.#options;
    const isClaim = kind === "claim";
    const body = isClaim ? new Uint8Array() : encodeBody(drafts, false);
    const room = connection.info?.max_payload ?? Infinity;
    const head = encodeHead({ kind, time, count: isClaim ? 0 : drafts.length, ttl, known, key });
    if (body.byteLength + head.length + HEADER_BYTES > room) {
      return onAck(number, { kind: "refused", error: tooLargeError(body.byteLength, room) });
    }
    const fields = headers();
    fields.set("Nats-Msg-Id", `${this.#node}-${number}`);
    fields.set(HEAD, head);
    const subject = isClaim ? subjects.claim(channel) : subjects.messages(channel);
    connection.publish(subject, body, { headers: fields, reply: `${this.#acks}.${number}` });
  }

  /** Why what is only delivered cannot be passed to the other nodes; undefined when it can. */
  findRefusal({ kind, drafts, bytes }: Entry): MessagingError | undefined {
    const room = this.#connection?.info?.max_payload ?? Infinity;
    if ((kind !== "transient" && kind !== "claim") || bytes <= room / 2) return undefined;
    const { byteLength } = encodeBody(drafts, true);
    return byteLength > room ? tooLargeError(byteLength, room) : undefined;
  }

  /** Passes what is only delivered to the other nodes; what is too large for them is refused before. */
  pass(drafts: readonly Draft[]): void {
    const body = encodeBody(drafts, true);
    if (body.byteLength > (this.#connection?.info?.max_payload ?? Infinity)) return;
    this.#tell(this.#options.subjects.transient, body);
  }

  /** Tells the other nodes how far a channel was emptied. */
  tellPurged(channel: string, record: number): void {
    this.#tell(this.#options.subjects.purged, JSON.stringify([channel, record]));
  }

  /** Moves to a connection, and hears on it what the stream does not say. */
  use(connection: NatsConnection): void {
    this.#connection = connection;
    const { subjects, onAck, onTransient, onPurged } = this.#options;
    this.#hear(`${this.#acks}.*`, (message) => {
      onAck(Number(message.subject.slice(this.#acks.length + 1)), readAck(message));
    });
    this.#hear(`${subjects.transient}*`, (message) => onTransient(message.data));
    this.#hear(`${subjects.purged}*`, (message) => onPurged(...message.json<[string, number]>()));
  }

  #tell(subject: string, data: Uint8Array | string): void {
    if (this.#connection?.isClosed() === false) this.#connection.publish(subject + this.#node, data);
  }

  #hear(subject: string, take: (message: Msg) => void): void {
    this.#connection?.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null || message.subject.endsWith(`.${this.#node}`)) return;
        try {
          take(message);
        } catch (cause) {
          const reason = cause instanceof Error ? cause.message : String(cause);
          this.#options.logger.write("warn", "message of another node not understood", { reason });
        }
      },
    });
  }
}

function tooLargeError(bytes: number, room: number): MessagingError {
  return new MessagingError(
    "too_large",
    `The message takes ${bytes} bytes and the NATS server takes ${room}: send less, or raise its max_payload`,
  );
}
