/** How a webhook fares, for operators, and where it is sent again from. */
import type { Selector } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { Cursor, Log } from "../core/log.ts";
import type { ResendFrom } from "./control.ts";

export interface WebhookStatus {
  readonly name: string;
  /** Without its query. */
  readonly url: string;
  readonly events: readonly string[];
  readonly channels: readonly string[];
  /** Whether this node sends. */
  readonly sends: boolean;
  /**
   * The name of the node that sends, whose numbers these are. Undefined where it did not tell them: then they are what
   * this node did before.
   */
  readonly sender: string | undefined;
  readonly paused: boolean;
  readonly waiting: number;
  /** Age of the oldest event that waits, in seconds; 0 when none does. */
  readonly oldestSeconds: number;
  /** Events that were taken, and requests that failed, since the process started. */
  readonly delivered: number;
  readonly failures: number;
  /** Why the last request failed; undefined when it was taken. */
  readonly failure: string | undefined;
}

/**
 * The position before the first message after a cursor; the end if there is none.
 *
 * @throws {MessagingError} `bad_option` for an id that no message has, and what the engine rejects with
 */
export async function findPosition(
  log: Pick<Log, "read" | "top">,
  selector: Selector,
  after: Cursor,
): Promise<ResendFrom> {
  const { epoch, sequence } = log.top;
  if (after.kind === "id") {
    if (after.epoch === epoch && after.sequence <= sequence) return { epoch, sequence: after.sequence };
    throw new MessagingError(
      "bad_option",
      `No message of this engine has that id: its ids begin with "${epoch}-" and end at ${sequence}`,
    );
  }
  const { messages: [first] } = await log.read({ selector, after, limit: 1 });
  return first === undefined ? { epoch, sequence } : { epoch: first.epoch, sequence: first.sequence - 1 };
}
