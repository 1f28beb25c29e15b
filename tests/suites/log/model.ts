/** An engine and a list of all messages agree, whatever is done. Part of `log_suite.ts`. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { matchesSelector, selectChannel, selectPatterns } from "../../../lib/core/channel.ts";
import type { Cursor, Log } from "../../../lib/core/log.ts";
import type { Message } from "../../../lib/core/message.ts";
import { ALL, assertIncreasing, type Bench, draft, EARLIEST, openBench, type OpenLog } from "./bench.ts";

/** Registers one test of one engine. */
export function testModel(name: string, open: OpenLog): void {
  Deno.test(`${name} agrees with a list of all messages, whatever is appended, cleared, aged and read`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(arbitraryStep, { minLength: 5, maxLength: 40 }), async (steps) => {
        await using bench = await openBench(open, [
          { channels: "a/*", history: { messages: 4, seconds: 100 } },
          { channels: "b", history: { messages: 20, seconds: 30 } },
        ]);
        for (const step of steps) await takeStep(bench, step);
      }),
      { numRuns: 100 },
    );
  });
}

type Step =
  | { readonly kind: "append"; readonly channels: readonly string[]; readonly ttl: number | undefined }
  | { readonly kind: "clear"; readonly channel: string }
  | { readonly kind: "remove"; readonly fraction: number }
  | { readonly kind: "advance"; readonly seconds: number }
  | {
    readonly kind: "read";
    readonly patterns: readonly string[];
    readonly cursor: Cursor["kind"];
    readonly fraction: number;
    readonly limit: number;
  };

const arbitraryChannel = fc.constantFrom("a/1", "a/2", "b", "c");
const arbitraryStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      channels: fc.array(arbitraryChannel, { minLength: 1, maxLength: 4 }),
      ttl: fc.option(fc.constantFrom(1, 20), { nil: undefined, freq: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("clear" as const), channel: arbitraryChannel }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("remove" as const),
      fraction: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("advance" as const), seconds: fc.integer({ min: 1, max: 40 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("read" as const),
      patterns: fc.constantFrom(["a/1"], ["b"], ["a/*"], ["a/1", "b"], ["**"], ["none"]),
      cursor: fc.constantFrom(
        "earliest" as const,
        "latest" as const,
        "id" as const,
        "offset" as const,
        "time" as const,
      ),
      fraction: fc.double({ min: 0, max: 1, noNaN: true }),
      limit: fc.integer({ min: 1, max: 8 }),
    }),
  },
);

async function takeStep({ log, clock, announced, removals }: Bench, step: Step): Promise<void> {
  if (step.kind === "append") {
    const { ttl } = step;
    const drafts = step.channels.map((channel, i) => draft(channel, announced.length + i));
    await Promise.all(drafts.map((each) => log.append(ttl === undefined ? each : { ...each, ttl })));
    return;
  }
  if (step.kind === "clear") return void await log.clear(step.channel);
  if (step.kind === "remove") {
    const chosen = announced[Math.floor(step.fraction * (announced.length - 1))];
    if (chosen === undefined) return;
    const kept = await log.read({ selector: selectChannel(chosen.channel), after: EARLIEST, limit: ALL });
    const isKept = kept.messages.some(({ sequence }) => sequence === chosen.sequence);
    assert.equal(await log.remove(chosen.channel, chosen), isKept);
    return;
  }
  if (step.kind === "advance") return clock.advance(step.seconds);

  const selector = selectPatterns(step.patterns);
  if (step.cursor === "offset" && selector.channel === undefined) return;
  const kept = await log.read({ selector, after: EARLIEST, limit: ALL });
  assert.equal(kept.kind, "complete");
  const ever = announced.filter((message) => matchesSelector(selector, message.channel));
  const after = chooseCursor(step.cursor, step.fraction, log, ever);
  const page = await log.read({ selector, after, limit: step.limit });
  const isAfter = (message: Message) =>
    after.kind === "id"
      ? message.sequence > after.sequence
      : after.kind === "offset"
      ? message.offset > after.offset
      : after.kind === "time"
      ? message.time >= after.time
      : true;
  const isTakenBack = ({ sequence }: Message) =>
    removals.some((removal) => removal.kind === "message" && removal.sequence === sequence);
  const isGone = (message: Message) =>
    !isTakenBack(message) && !kept.messages.some((other) => other.sequence === message.sequence);
  const expected = kept.messages.filter(isAfter);
  const limited = after.kind === "latest" ? expected.slice(-step.limit) : expected.slice(0, step.limit);
  const sequences = (messages: readonly Message[]) => messages.map((message) => message.sequence);
  assert.deepEqual(
    sequences(page.messages),
    sequences(limited),
    "the page holds what is kept after the cursor",
  );
  assertIncreasing(sequences(page.messages));
  assert.equal(page.more, after.kind !== "latest" && expected.length > step.limit);
  assert.equal(page.next.sequence, page.more ? limited.at(-1)?.sequence : log.top.sequence);
  if (selector.channel !== undefined) assert.equal(page.position.offset, ever.at(-1)?.offset ?? 0);
  const isGap = after.kind !== "earliest" && after.kind !== "latest" && ever.filter(isAfter).some(isGone);
  assert.equal(page.kind, isGap ? "gap" : "complete", "a gap means that messages after the cursor are gone");
}

function chooseCursor(kind: Cursor["kind"], fraction: number, log: Log, ever: readonly Message[]): Cursor {
  const { epoch, sequence } = log.top;
  const some = ever[Math.floor(fraction * (ever.length - 1))];
  switch (kind) {
    case "id":
      return { kind, epoch, sequence: Math.round(fraction * sequence) };
    case "offset":
      return { kind, offset: Math.round(fraction * (ever.at(-1)?.offset ?? 0)) };
    case "time":
      return { kind, time: (some?.time ?? 0) + (fraction > 0.5 ? 1 : 0) };
    default:
      return { kind };
  }
}

/** Has an engine do what its timers would: the clock of a test moves faster. */
