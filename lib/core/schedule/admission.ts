/** What may be scheduled, and under which id. The scheduler asks it before it keeps a message. */
import { MessagingError } from "../errors.ts";
import { describeShare, type Place, type Pool } from "../pool.ts";
import type { When } from "./when.ts";

export interface ScheduleLimits {
  /** Messages at a time; 0 allows none. With several nodes it may be passed by what they accept at the same moment. */
  readonly maxScheduled: number;
  /** Bytes that all of them take in the engine. */
  readonly maxScheduledBytes: number;
  /** Seconds. */
  readonly maxScheduleAhead: number;
  /** Largest message, in bytes. */
  readonly maxMessageBytes: number;
}

/** How late a time may be given: clocks differ, and requests are repeated. */
const LATE_MILLISECONDS = 5 * 60_000;
/** The latest moment a Date can be, https://tc39.es/ecma262/#sec-time-values-and-time-range */
const LONGEST_TIME = 8.64e15;
const BASE64_URL = { alphabet: "base64url", omitPadding: true } as const;

/**
 * When a message is due, in milliseconds since 1970.
 *
 * @throws {MessagingError} `bad_option` or `too_far_ahead`
 */
export function findDue(when: When, now: number, { maxScheduleAhead }: ScheduleLimits): number {
  const due = when.kind === "at" ? when.time : now + when.milliseconds;
  if (due - now > maxScheduleAhead * 1_000) {
    throw new MessagingError(
      "too_far_ahead",
      `Messages are scheduled at most ${maxScheduleAhead} seconds ahead: choose an earlier time, ` +
        "or raise --max-schedule-ahead",
    );
  }
  if (now - due <= LATE_MILLISECONDS) return due;
  const shown = new Date(Math.max(due, -LONGEST_TIME)).toISOString();
  throw new MessagingError("bad_option", `at is ${shown}, which has passed: choose a time to come`);
}

/** @throws {MessagingError} `too_many_scheduled` or `share_used_up` */
export function demandRoom(pool: Pool, place: Place): void {
  const shortage = pool.findShortage(place);
  if (shortage === undefined) return;
  if (shortage.isShare) throw describeShare(shortage, "scheduled messages", "cancel some");
  throw new MessagingError(
    "too_many_scheduled",
    shortage.unit === "count"
      ? `${pool.size} messages are scheduled, the limit of --max-scheduled: cancel some, or try again later`
      : `The scheduled messages would take ${pool.bytes + place.bytes} bytes, beyond the limit of ` +
        "--max-scheduled-bytes: cancel some, or try again later",
  );
}

/** The error for an id that is not, or not any more, that of a scheduled message. */
export function describeMissing(): MessagingError {
  return new MessagingError(
    "not_found",
    "No message is scheduled under this id: it was sent, is being sent, was cancelled, or never was",
  );
}

export function isId(text: string): boolean {
  return /^[A-Za-z0-9_-]{1,64}$/.test(text);
}

/** An id that nobody guesses. */
export function createId(): string {
  return crypto.getRandomValues(new Uint8Array(16)).toBase64(BASE64_URL);
}

/** 22 characters that stand for a text. */
export async function digestOf(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return bytes.subarray(0, 16).toBase64(BASE64_URL);
}
