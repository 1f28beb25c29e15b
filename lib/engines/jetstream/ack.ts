/** What the server's answer to a published record means to the JetStream engine. */
import type { Msg } from "@nats-io/transport-node";
import { MessagingError } from "../../core/errors.ts";
import type { Ack } from "./line.ts";

/** https://github.com/nats-io/nats-server/blob/main/server/errors.json */
const INSUFFICIENT_RESOURCES = 10023;
const STORAGE_EXCEEDED = 10047;
const MESSAGE_TOO_LARGE = 10054;
/** What it says when the stream is full, as part of its words or as a code of its own. */
const STORE_FAILED = 10077;

/** Reads an answer; one without sense counts as none. */
export function readAck(message: Msg): Ack {
  // 503: nobody listens, as while a cluster elects a leader.
  if (message.headers?.hasError) return { kind: "failed" };
  let answer: { seq?: number; error?: { err_code?: number; description?: string } };
  try {
    answer = message.json();
  } catch {
    return { kind: "failed" };
  }
  const { error, seq } = answer;
  if (error === undefined) return seq === undefined ? { kind: "failed" } : { kind: "stored", record: seq };
  switch (error.err_code) {
    case INSUFFICIENT_RESOURCES:
    case STORAGE_EXCEEDED:
    case STORE_FAILED:
      return {
        kind: "refused",
        error: new MessagingError(
          "log_full",
          `Cannot store the message: the NATS server says "${error.description}"; give the stream more room, ` +
            "or keep less with --rules",
        ),
      };
    case MESSAGE_TOO_LARGE:
      return {
        kind: "refused",
        error: new MessagingError("too_large", "The message is larger than the stream's max_msg_size allows"),
      };
    default:
      return { kind: "failed" };
  }
}
