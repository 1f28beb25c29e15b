/** The answers to subscribes: what a subscription says of itself when it opens, and what comes with it. */
import { MessagingError } from "../../core/errors.ts";
import { MAX_HISTORY_MESSAGES } from "../../core/history.ts";
import type { Cursor, LogPage } from "../../core/log.ts";
import { type Message, payloadSize } from "../../core/message.ts";
import type { ChannelRules } from "../../core/rules.ts";
import type { Publication, SubscribeRequest, SubscribeResult } from "./codec.ts";
import type { ChannelDelivery } from "./delivery.ts";
import { toPublication } from "./encoders.ts";

/** The subscription's type in the protocol that is a map. */
export const MAP_TYPE = 1;

/** Takes the answer to a subscribe. Where that takes several turns, it returns a promise. */
export type OnResult = (result: SubscribeResult) => Promise<void> | void | undefined;

/** Where a subscription begins, and how it is delivered. */
export interface Start extends Pick<SubscribeRequest, "recover" | "epoch" | "offset" | "flag" | "joinLeave"> {
  /** Where its publications are filtered or written as deltas. */
  readonly delivery?: ChannelDelivery | undefined;
  /** Whether what it missed may still come along with what others did. */
  readonly hasRoom?: () => boolean;
  /** Whether the operator, or what it is, lets it recover, whatever rules say. */
  readonly mayRecover?: boolean;
  /** For a subscription to a map. */
  readonly map?: MapStart;
}

/** What the answer to a subscription to a map says besides. */
export interface MapStart {
  /** The last page of the map's state; undefined where the client has the state. */
  readonly state: readonly Publication[] | undefined;
  readonly delivery: ChannelDelivery;
  /** Called when the subscription goes live. Returns what to call when it ends. */
  onLive(): () => void;
}

/** An answer, and what was announced meanwhile and is not in it. */
interface Opened {
  readonly result: SubscribeResult;
  readonly rest: readonly Message[];
}

/**
 * The answer to a subscribe.
 *
 * @param recovers whether it may be given what it missed
 * @param page what was stored after where it begins
 * @param announced what came since that page was read
 */
export function describeOpened(
  { ephemeral, conflate }: ChannelRules,
  start: Start,
  recovers: boolean,
  page: LogPage,
  announced: readonly Message[],
): Opened {
  const { delivery } = start;
  const shared = { wasRecovering: start.recover, ...(delivery?.isDelta ? { delta: true } : {}) };
  // On a conflated channel offsets are passed over by rule: no position would hold.
  if (ephemeral || conflate) return { result: shared, rest: announced };
  const { epoch } = page.position;
  const base = { recoverable: true, positioned: true, epoch, ...shared };
  const stored = announced.filter(({ sequence }) => sequence > 0);
  const missed = [...page.messages, ...stored];
  if (recovers && page.kind === "complete" && !page.more && missed.length <= MAX_HISTORY_MESSAGES) {
    const publications = delivery?.toPublications(missed) ?? missed.map(toPublication);
    const rest = announced.filter(({ sequence }) => sequence === 0);
    // The client goes on from the last one it gets; where a filter let none pass, from here.
    const offset = publications.length === 0 ? missed.at(-1)?.offset : undefined;
    const result = { ...base, recovered: true, offset: offset ?? start.offset, publications };
    return { result, rest };
  }
  if (start.recover) {
    const rest = announced.filter(({ sequence }) => sequence === 0);
    return { result: { ...base, offset: stored.at(-1)?.offset ?? page.position.offset }, rest };
  }
  return { result: { ...base, offset: page.position.offset }, rest: announced };
}

/** The answer to a subscription to a map that goes live; undefined where the client must begin anew. */
export function describeMapOpened(
  start: Start,
  { state, delivery }: MapStart,
  page: LogPage,
  announced: readonly Message[],
): Opened | undefined {
  if (page.kind === "gap" || page.more) return undefined;
  const missed = [...page.messages, ...announced.filter(({ sequence }) => sequence > 0)];
  const publications = delivery.toPublications(missed);
  const result: SubscribeResult = {
    type: MAP_TYPE,
    recoverable: true,
    positioned: true,
    epoch: page.position.epoch,
    // Other than with streams, the client does not count on by what it gets.
    offset: missed.at(-1)?.offset ?? start.offset,
    publications,
    delta: delivery.isDelta,
    ...(state === undefined ? { recovered: true, wasRecovering: true } : { state }),
  };
  return { result, rest: [] };
}

/** From where a subscription is to be caught up with. */
export function toCursor({ recover, epoch, offset }: Start): Cursor {
  if (!recover) return { kind: "latest" };
  return epoch === "" ? { kind: "offset", offset } : { kind: "offset", offset, epoch };
}

/** Bytes of the publications of an answer. */
export function sizeOf({ publications = [] }: SubscribeResult): number {
  return publications.reduce((bytes, { data }) => {
    if (data.kind === "delta") return bytes + data.bytes.byteLength;
    return bytes + payloadSize(data.kind === "whole" ? data.payload : data);
  }, 0);
}

export function alreadySubscribed(channel: string): MessagingError {
  return new MessagingError("already_subscribed", `Already subscribed to "${channel}"`);
}
