/** A log under test, and what the tests of the Log port share. */
import assert from "node:assert/strict";
import { selectChannel, selectPatterns } from "../../../lib/core/channel.ts";
import type { Cursor, Log, LogPage, Receipt } from "../../../lib/core/log.ts";
import type { Draft, Message, Payload, Removal } from "../../../lib/core/message.ts";
import { type RuleEntry, Rules } from "../../../lib/core/rules.ts";
import { FakeClock } from "../../fakes/clock.ts";

export interface OpenLogOptions {
  readonly rules: Rules;
  readonly now: () => number;
  readonly maxChannels?: number;
  readonly forgetAfter?: number;
  readonly maxTombstones?: number;
}

/** How a test opens its log. */
export type BenchOptions = Omit<OpenLogOptions, "rules" | "now">;

/** Opens an empty log. What it leaves on disk is the opener's to remove when the log is disposed. */
export type OpenLog = (options: OpenLogOptions) => Promise<Log>;

/** More than any test stores. */
export const ALL = 10_000;
export const EARLIEST: Cursor = { kind: "earliest" };
export const NEWS = selectChannel("news");
export const EVERYTHING = selectPatterns(["**"]);

/** A log under test, with its clock and everything it announced. */
export interface Bench extends AsyncDisposable {
  readonly log: Log;
  readonly clock: FakeClock;
  readonly batches: (readonly Message[])[];
  readonly announced: Message[];
  readonly removals: Removal[];
  /** What was cleared with nothing in it. */
  readonly cleared: Removal[];
  /** The texts announced, and `removed OFFSET` or `cleared OFFSET`, in order. */
  readonly events: string[];
}

/** Asserts where a page says to read on. */
export function assertNext({ next }: LogPage, { epoch, sequence }: Log["top"]): void {
  assert.deepEqual({ kind: next.kind, epoch: next.epoch, sequence: next.sequence }, {
    kind: "id",
    epoch,
    sequence,
  });
}

export async function sweep(log: Log & { sweep?(): void | Promise<void> }): Promise<void> {
  // The memory engine does it with what is appended.
  await log.append({ ...draft("sweep", ""), ephemeral: true });
  // JetStream first purges, then forgets; and its own timer may be at it.
  for (let i = 0; i < 3; i++) await log.sweep?.();
}

export async function openBench(
  open: OpenLog,
  rules: readonly RuleEntry[],
  options: BenchOptions = {},
): Promise<Bench> {
  const clock = new FakeClock();
  const log = await open({ rules: new Rules(rules), now: clock.now, ...options });
  const batches: (readonly Message[])[] = [];
  const announced: Message[] = [];
  const removals: Removal[] = [];
  const cleared: Removal[] = [];
  const events: string[] = [];
  log.onRemoved = (removal) => {
    removals.push(removal);
    events.push(`removed ${removal.offset}`);
  };
  log.onCleared = (removal) => {
    cleared.push(removal);
    events.push(`cleared ${removal.offset}`);
  };
  log.onStored = (messages) => {
    events.push(...messages.map(({ payload }) => payloadText(payload)));
    batches.push(messages);
    announced.push(...messages);
  };
  return {
    log,
    clock,
    batches,
    announced,
    removals,
    cleared,
    events,
    [Symbol.asyncDispose]: () => Promise.resolve(log[Symbol.asyncDispose]()),
  };
}

export function draft(channel: string, text: string | number): Draft {
  return { channel, payload: { kind: "text", text: `${text}` } };
}

export function readAll(log: Log, channel: string): Promise<LogPage> {
  return log.read({ selector: selectChannel(channel), after: EARLIEST, limit: ALL });
}

export function payloadText(payload: Payload): string {
  return payload.kind === "bytes" ? "(bytes)" : payload.text;
}

export function texts(page: LogPage): string[] {
  return page.messages.map((message) => payloadText(message.payload));
}

export function pick(of: Receipt | Message | undefined) {
  return { epoch: of?.epoch, offset: of?.offset, sequence: of?.sequence, time: of?.time };
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

export function assertGap(page: LogPage): asserts page is LogPage & { kind: "gap" } {
  assert.equal(page.kind, "gap");
}

export function assertIncreasing(values: readonly number[]): void {
  for (let i = 1; i < values.length; i++) {
    assert.ok(values[i]! > values[i - 1]!, `${values[i - 1]} then ${values[i]} is not in order`);
  }
}

export function toText(text: string): Payload {
  return { kind: "text", text };
}

/** Registers one test of one engine: a promise, and what is done with a bench to see whether it is kept. */
export type TestLog = (
  promise: string,
  body: (bench: Bench) => Promise<void>,
  rules?: readonly RuleEntry[],
  options?: BenchOptions,
) => void;
