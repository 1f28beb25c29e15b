/**
 * Publishes records to the stream and transient messages to other nodes, and receives acks and what other nodes send.
 */
import { createInbox, headers, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { MessagingError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { Draft } from "../../core/message.ts";
import { readAck } from "./ack.ts";
import type { Ack, Entry } from "./append_queue.ts";
import { encodeBody, encodeHead, HEAD, type Known, NOTHING_KNOWN } from "./record.ts";
import type { JetStreamSubjects } from "./subject.ts";

export interface WireOptions {
  readonly subjects: JetStreamSubjects;
  readonly logger: Logger;
  /** Called with the server's answer to the record of a number. */
  onAck(number: number, ack: Ack): void;
  /** Called with transient messages of another node; throws if they cannot be parsed. */
  onTransient(body: Uint8Array): void;
  /** Called when another node has purged a channel up to a record. */
  onPurged(channel: string, record: number): void;
}

/** The size of a record's headers besides its head, in bytes. */
const HEADER_BYTES = 100;

export class JetStreamPublisher {
  readonly #options: WireOptions;
  /** Identifies this process: the prefix of its records' ids. */
  readonly #node = crypto.getRandomValues(new Uint8Array(8)).toHex();
  readonly #acks = createInbox();
  #connection: NatsConnection | undefined;

  constructor(options: WireOptions) {
    this.#options = options;
  }

  /** The number of the record with this id, if this node published it. */
  numberOf(id: string): number | undefined {
    return id.startsWith(`${this.#node}-`) ? Number(id.slice(this.#node.length + 1)) : undefined;
  }

  /** Publishes a record. The same number always means the same record, which the server stores once. */
  send(
    { kind, channel, drafts, time, clock, ttl, key, fingerprint }: Entry,
    number: number,
    known: Known = NOTHING_KNOWN,
    epoch?: string,
  ): void {
    const connection = this.#connection;
    if (connection === undefined || connection.isClosed() || kind === "transient") return;
    const { subjects, onAck } = this.#options;
    const isClaim = kind === "claim";
    const body = isClaim ? new Uint8Array() : encodeBody(drafts, false);
    const room = connection.info?.max_payload ?? Infinity;
    const head = encodeHead({
      kind,
      time,
      clock,
      count: isClaim ? 0 : drafts.length,
      ttl,
      known,
      key,
      fingerprint,
      epoch,
    });
    if (body.byteLength + head.length + HEADER_BYTES > room) {
      return onAck(number, { kind: "refused", error: tooLargeError(body.byteLength, room) });
    }
    const fields = headers();
    fields.set("Nats-Msg-Id", `${this.#node}-${number}`);
    fields.set(HEAD, head);
    const subject = isClaim ? subjects.claim(channel) : subjects.messages(channel);
    connection.publish(subject, body, { headers: fields, reply: `${this.#acks}.${number}` });
  }

  /** The error for a transient message that is too large to broadcast; undefined if it fits. */
  findSizeError({ kind, drafts, bytes }: Entry): MessagingError | undefined {
    const room = this.#connection?.info?.max_payload ?? Infinity;
    if ((kind !== "transient" && kind !== "claim") || bytes <= room / 2) return undefined;
    const { byteLength } = encodeBody(drafts, true);
    return byteLength > room ? tooLargeError(byteLength, room) : undefined;
  }

  /** Sends transient messages to the other nodes. Oversized ones were refused before. */
  broadcast(drafts: readonly Draft[]): void {
    const body = encodeBody(drafts, true);
    if (body.byteLength > (this.#connection?.info?.max_payload ?? Infinity)) return;
    this.#publish(this.#options.subjects.transient, body);
  }

  /** Tells the other nodes up to which record a channel was purged. */
  announcePurge(channel: string, record: number): void {
    this.#publish(this.#options.subjects.purged, JSON.stringify([channel, record]));
  }

  /** Switches to a connection, and subscribes on it to what does not come through the stream. */
  attach(connection: NatsConnection): void {
    this.#connection = connection;
    const { subjects, onAck, onTransient, onPurged } = this.#options;
    this.#subscribe(`${this.#acks}.*`, (message) => {
      onAck(Number(message.subject.slice(this.#acks.length + 1)), readAck(message));
    });
    this.#subscribe(`${subjects.transient}*`, (message) => onTransient(message.data));
    this.#subscribe(`${subjects.purged}*`, (message) => onPurged(...message.json<[string, number]>()));
  }

  #publish(subject: string, data: Uint8Array | string): void {
    if (this.#connection?.isClosed() === false) this.#connection.publish(subject + this.#node, data);
  }

  #subscribe(subject: string, take: (message: Msg) => void): void {
    this.#connection?.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null || message.subject.endsWith(`.${this.#node}`)) return;
        try {
          take(message);
        } catch (cause) {
          const reason = cause instanceof Error ? cause.message : String(cause);
          this.#options.logger.write("warn", "cannot parse a message of another node", { reason });
        }
      },
    });
  }
}

function tooLargeError(bytes: number, room: number): MessagingError {
  return new MessagingError(
    "too_large",
    `The message takes ${bytes} bytes, and the NATS server accepts ${room}: send less, or raise its max_payload`,
  );
}
