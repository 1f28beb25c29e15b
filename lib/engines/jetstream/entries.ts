/** Makes what the JetStream engine's line takes of the drafts of one turn: records of what belongs together. */
import type { MessagingError } from "../../core/errors.ts";
import type { Receipt } from "../../core/log.ts";
import { type Draft, isTransient, payloadSize } from "../../core/message.ts";
import type { Entry } from "./append_queue.ts";
import { encodeKey, estimateSize, MESSAGES_PER_RECORD, sequenceOf } from "./record.ts";

export interface Pending {
  readonly draft: Draft;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: MessagingError) => void;
}

export interface EntryContext {
  /** What all are stamped with, in milliseconds since 1970. */
  readonly time: number;
  /** Bytes beyond which nothing is added to a record. */
  readonly maxBytes: number;
  /** The log's epoch when it is asked. */
  epoch(): string;
}

/** Several drafts that become one record, or one message to the other nodes. */
interface Group {
  readonly kind: "messages" | "transient" | "claim";
  readonly pending: Pending[];
  bytes: number;
}

/** Drafts in the order in which they were handed in, joined to their neighbours where one record can hold both. */
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
  // A key is a record's, so that nobody has to look into it.
  if (kind !== kindOf(draft) || pending.length >= MESSAGES_PER_RECORD) return false;
  if (first.idempotencyKey !== undefined || draft.idempotencyKey !== undefined) return false;
  return kind === "transient" || (first.channel === draft.channel && first.ttl === draft.ttl);
}

function createEntry({ kind, pending, bytes }: Group, { time, epoch }: EntryContext): Entry {
  const { channel, ttl, idempotencyKey } = pending[0]!.draft;
  return {
    kind,
    channel,
    drafts: pending.map(({ draft }) => draft),
    time,
    ttl: ttl === undefined ? undefined : Math.ceil(ttl * 1_000),
    key: idempotencyKey === undefined ? undefined : encodeKey(idempotencyKey),
    bytes,
    settle(applied, record) {
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
