/**
 * Finds out where the stream of the JetStream engine ends, confirmed by a majority of its servers. The link asks it
 * when an answer looks like a loss.
 *
 * A server's answer may be old: a leader that was frozen or cut off goes on to answer until it learns that it was
 * replaced, and does not know what was stored since; one that has just been elected may not have applied all that it
 * has. Storing a record, however, takes a majority. So this stores one without messages: a claim of a key that nobody
 * else uses, which all nodes ignore, and which is purged as other claims are. Its sequence is above that of all that
 * was stored before.
 */
import type { JetStreamManager } from "@nats-io/jetstream";
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { readAck } from "./ack.ts";
import { encodeHead, encodeKey, HEAD, NOTHING_KNOWN } from "./record.ts";
import { type OpenedStream, openStream, type StreamOptions } from "./stream.ts";

/** The channel of its records, which is not created by them. */
const CHANNEL = "confirmation";

/** How long an answer may take, in milliseconds. */
const REQUEST_MILLISECONDS = 2_000;
/**
 * How often to ask again servers whose answer is older than what a majority has stored, and how long to wait before.
 */
const OLD_ANSWERS = 6;
const OLD_ANSWER_MILLISECONDS = 500;

export interface ConfirmationOptions extends StreamOptions {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  /** The clock of the next record, in milliseconds since 1970. */
  readonly clock: number;
}

/** What the stream is by an answer that knows all that a majority had stored before, and a record above all of that. */
export interface ConfirmedStream {
  readonly opened: OpenedStream;
  readonly end: number;
}

/** @throws {Error} if no majority has answered in time, or no server knows yet what a majority has stored */
export async function openConfirmed(options: ConfirmationOptions): Promise<ConfirmedStream> {
  const end = await storeConfirmation(options);
  for (let i = 0;; i++) {
    const opened = await openStream(options.manager, options);
    if (end !== undefined && opened.last >= end) return { opened, end };
    if (i === OLD_ANSWERS) {
      // A full stream stores nothing that could be asked for.
      if (end === undefined) return { opened, end: opened.last };
      throw new Error("its servers do not know yet what a majority of them has stored");
    }
    await new Promise((resolve) => setTimeout(resolve, OLD_ANSWER_MILLISECONDS));
  }
}

/** @returns the sequence of the record; undefined if the stream is full */
async function storeConfirmation(
  { connection, subjects, clock }: ConfirmationOptions,
): Promise<number | undefined> {
  const head = {
    kind: "claim",
    time: clock,
    clock,
    count: 0,
    ttl: undefined,
    known: NOTHING_KNOWN,
    key: encodeKey(crypto.randomUUID()),
    fingerprint: undefined,
    epoch: undefined,
  } as const;
  const fields = headers();
  fields.set(HEAD, encodeHead(head));
  const answer = await connection.request(subjects.claim(CHANNEL), new Uint8Array(), {
    headers: fields,
    timeout: REQUEST_MILLISECONDS,
  });
  const ack = readAck(answer);
  if (ack.kind === "failed") throw new Error("its servers did not store a record");
  return ack.kind === "stored" ? ack.record : undefined;
}
