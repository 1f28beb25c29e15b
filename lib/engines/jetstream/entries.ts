/** Groups the drafts of one turn into entries of the JetStream engine's append queue, several drafts to a record. */
import type { MessagingError } from "../../core/errors.ts";
import type { Receipt } from "../../core/log.ts";
import { type Draft, isTransient, payloadSize } from "../../core/message.ts";
import type { Entry } from "./append_queue.ts";
import { createReuseError, fingerprintOf } from "../stamp.ts";
import { encodeKey, estimateSize, MESSAGES_PER_RECORD, sequenceOf } from "./record.ts";

export interface Pending {
  readonly draft: Draft;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: MessagingError) => void;
}

export interface EntryContext {
  /** The time stamped on all of them, in milliseconds since 1970. */
  readonly time: number;
  /** When their deadlines begin; see the head of records. */
  readonly clock: number;
  /** A record that reaches this many bytes takes no more drafts. */
  readonly maxBytes: number;
  /** Returns the engine's current epoch. */
  epoch(): string;
}

/** Drafts that become one record, or one broadcast to the other nodes. */
interface Group {
  readonly kind: "messages" | "transient" | "claim";
  readonly pending: Pending[];
  bytes: number;
}

/** Creates entries in the order of the drafts; neighbours share an entry where one record can hold both. */
export function createEntries(batch: readonly Pending[], context: EntryContext): Entry[] {
  const groups: Group[] = [];
  for (const pending of batch) {
    const bytes = estimateSize(pending.draft, payloadSize(pending.draft.payload));
    const last = groups.at(-1);
    if (last !== undefined && last.bytes + bytes <= context.maxBytes && mayJoin(last, pending.draft)) {
      last.pending.push(pending);
      last.bytes += bytes;
    } else groups.push({ kind: kindOf(pending.draft), pending: [pending], bytes });
  }
  return groups.map((group) => createEntry(group, context));
}

function kindOf(draft: Draft): Group["kind"] {
  if (!isTransient(draft)) return "messages";
  return draft.idempotencyKey === undefined ? "transient" : "claim";
}

function mayJoin({ kind, pending }: Group, draft: Draft): boolean {
  const first = pending[0]!.draft;
  // A keyed draft has a record to itself: the key is in the head, which is read without the body.
  if (kind !== kindOf(draft) || pending.length >= MESSAGES_PER_RECORD) return false;
  if (first.idempotencyKey !== undefined || draft.idempotencyKey !== undefined) return false;
  return kind === "transient" || (first.channel === draft.channel && first.ttl === draft.ttl);
}

function createEntry({ kind, pending, bytes }: Group, { time, clock, epoch }: EntryContext): Entry {
  const { channel, ttl, idempotencyKey, marker } = pending[0]!.draft;
  return {
    kind,
    channel,
    drafts: pending.map(({ draft }) => draft),
    time,
    clock,
    ttl: ttl === undefined ? undefined : Math.ceil(ttl * 1_000),
    key: idempotencyKey === undefined ? undefined : encodeKey(idempotencyKey),
    // Whatever comes again with a marker is the message of before.
    fingerprint: idempotencyKey === undefined || marker !== undefined
      ? undefined
      : fingerprintOf(pending[0]!.draft),
    bytes,
    settle(applied, record) {
      if (applied.kind === "reused") return this.reject(createReuseError(channel));
      const receipt = (i: number): Receipt => {
        switch (applied.kind) {
          case "duplicate":
            return { ...applied.receipt, duplicate: true };
          case "claimed":
            return applied.receipt;
          case "stored": {
            const sequence = sequenceOf(record, i);
            return {
              epoch: epoch(),
              offset: applied.offset + i,
              sequence,
              time: applied.time,
              duplicate: false,
            };
          }
          default:
            return { epoch: epoch(), offset: 0, sequence: 0, time, duplicate: false };
        }
      };
      pending.forEach(({ resolve }, i) => resolve(receipt(i)));
    },
    reject(error) {
      for (const each of pending) each.reject(error);
    },
  };
}
