/**
 * Sends one scheduled message, once, whatever crashes meanwhile. The scheduler calls it on the node that sends.
 *
 * Before a message is published, a node claims it, of several nodes one alone, as each write names the revision that it
 * replaces. The message is published with a marker, an entry of the engine's state that is written with it: whoever
 * comes upon it again publishes with the same marker, and the engine stores it no second time, however much later. It
 * also has a key of its own, which the engine knows for some minutes, for a message that its publisher schedules again
 * under one.
 */
import { MessagingError } from "../errors.ts";
import type { Published } from "../hub.ts";
import type { LogState } from "../log.ts";
import { type Draft, isTransient } from "../message.ts";
import type { Rules } from "../rules.ts";
import { encodeEntry, type Entry, KEY_PREFIX, markerOf, parseEntry } from "./entry.ts";

export interface SendingOptions {
  readonly state: LogState;
  readonly rules: Rules;
  publish(draft: Draft): Promise<Published>;
  readonly now: () => number;
}

export type Outcome =
  | { readonly kind: "sent" }
  /** Cancelled, or sent by another node. */
  | { readonly kind: "gone" }
  /** Another node is at it. */
  | { readonly kind: "taken" }
  /** It can never be sent, and is scheduled no more. */
  | { readonly kind: "dropped"; readonly reason: string };

/** How long a node may take from its claim to its publish: much shorter than the engine knows keys. */
const CLAIM_MILLISECONDS = 60_000;
/** How long the engine is trusted to know a key, shorter than it does. */
const KEY_MILLISECONDS = 4 * 60_000;

/**
 * @throws {MessagingError} what the engine rejects with; the message then stays scheduled
 */
export async function sendScheduled(id: string, options: SendingOptions): Promise<Outcome> {
  const { state, now } = options;
  const started = performance.now();
  const key = KEY_PREFIX + id;
  const stored = await state.read(key);
  if (stored === undefined) return { kind: "gone" };
  const entry = parseEntry(stored.value);
  let { revision } = stored;
  const marker = markerOf(id, entry);
  if (entry.attempt === undefined) {
    const attempt = { time: now() };
    const claimed = await state.write(key, encodeEntry({ ...entry, attempt }), revision);
    if (claimed === undefined) return { kind: "taken" };
    revision = claimed;
  } else if (await mayBeLost(entry, entry.attempt, marker, options)) {
    await finish();
    return { kind: "dropped", reason: "the server stopped while it was delivered, and it is not kept" };
  }
  if (performance.now() - started > CLAIM_MILLISECONDS) return { kind: "taken" };
  try {
    await options.publish(toDraft(id, entry));
  } catch (error) {
    const dropped = await giveUp(error);
    if (dropped !== undefined) return dropped;
    throw error;
  }
  await finish();
  return { kind: "sent" };

  /** The marker goes last: without its entry nobody publishes the message. */
  async function finish(): Promise<void> {
    await state.delete(key, revision);
    // What fails here is removed when the entries are read again.
    await removeMarker(state, marker).catch(() => {});
  }

  async function giveUp(error: unknown): Promise<Outcome | undefined> {
    if (!(error instanceof MessagingError)) return undefined;
    // The client is gone, or a rule that came later leaves the channel without a map.
    if (error.code === "no_such_client" || error.code === "not_available") {
      await finish();
      return { kind: "dropped", reason: error.message };
    }
    // Nothing was published: it can be cancelled still.
    if (error.code !== "log_unavailable") {
      await state.write(key, encodeEntry(withoutAttempt(entry)), revision);
    }
    return undefined;
  }
}

/** Removes the marker of a message that is scheduled no more. */
export async function removeMarker(state: LogState, marker: string): Promise<void> {
  const entry = await state.read(marker);
  if (entry !== undefined) await state.delete(marker, entry.revision);
}

function toDraft(id: string, entry: Entry): Draft {
  const { draft, digest } = entry;
  return {
    ...draft,
    marker: markerOf(id, entry),
    // Publishers' keys have two parts.
    idempotencyKey: JSON.stringify(["scheduled", id, digest]),
    fingerprint: digest,
  };
}

function withoutAttempt({ attempt: _, ...entry }: Entry): Entry {
  return entry;
}

/**
 * Whether a message that is not kept may have been delivered, so that delivering it now could be the second time: it
 * was marked, and the engine may know its key no more. Of a kept one the marker says so for certain.
 */
async function mayBeLost(
  { draft }: Entry,
  { time }: { readonly time: number },
  marker: string,
  { state, rules, now }: SendingOptions,
): Promise<boolean> {
  if (!isTransient(draft) && !rules.for(draft.channel).ephemeral) return false;
  const age = now() - time;
  if (age >= 0 && age < KEY_MILLISECONDS) return false;
  return await state.read(marker) !== undefined;
}
