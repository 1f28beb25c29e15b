/** What every engine promises of resuming after a gap, for `log_suite.ts`: nothing is missed, and no gap is told twice. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { matchesSelector, type Selector, selectPatterns } from "../../lib/core/channel.ts";
import type { Cursor, LogPage } from "../../lib/core/log.ts";
import type { Draft, Message } from "../../lib/core/message.ts";
import { formatResumeId } from "../../lib/core/resume_id.ts";
import type { RuleEntry } from "../../lib/core/rules.ts";
import { parseId } from "../../lib/core/since.ts";
import type { Bench } from "./log/bench.ts";

type Step =
  | { readonly kind: "append"; readonly channels: readonly string[]; readonly ttl: number | undefined }
  | { readonly kind: "clear"; readonly channel: string }
  | { readonly kind: "remove"; readonly fraction: number }
  | { readonly kind: "advance"; readonly seconds: number }
  /** As a document does, which goes on from `next`, or as a plain WebSocket, which only takes the position of a gap. */
  | { readonly kind: "page" | "close"; readonly reader: number; readonly limit: number };

const RULES: readonly RuleEntry[] = [
  { channels: "a/*", history: { messages: 4, seconds: 100 } },
  { channels: "b", history: { messages: 20, seconds: 30 } },
];
const SELECTORS = [["a/1"], ["b"], ["c"], ["a/1", "b"], ["b", "c"], ["**"], ["a/*"]].map(selectPatterns);

const SIZE = { minLength: 10, maxLength: 60 };
const arbitraryReaders = fc.array(
  fc.tuple(
    fc.constantFrom(...SELECTORS),
    fc.constantFrom("id" as const, "foreign" as const, "offset" as const),
  ),
  { minLength: 2, maxLength: 2 },
);
const arbitraryChannel = fc.constantFrom("a/1", "a/2", "b", "c");
const arbitraryStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      channels: fc.array(arbitraryChannel, { minLength: 1, maxLength: 4 }),
      ttl: fc.option(fc.constantFrom(1, 20), { nil: undefined, freq: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("clear" as const), channel: arbitraryChannel }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("remove" as const),
      fraction: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("advance" as const), seconds: fc.constantFrom(1, 5, 25, 40) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom("page" as const, "close" as const),
      reader: fc.nat({ max: 1 }),
      limit: fc.constantFrom(0, 1, 2, 100),
    }),
  },
);

/** A reader, where it is, and what it may rely on: what was left after its position, and all that comes. */
class Reader {
  readonly #bench: Bench;
  readonly #selector: Selector;
  #after: Cursor = { kind: "earliest" };
  #text = "";
  #from = 0;
  #gone = new Set<number>();

  constructor(bench: Bench, selector: Selector, start: "id" | "foreign" | "offset") {
    this.#bench = bench;
    this.#selector = selector;
    if (start === "foreign") this.#after = { kind: "id", epoch: "other", sequence: 1 };
    else if (start === "offset" && selector.channel !== undefined) {
      this.#after = { kind: "offset", offset: 0 };
    } else this.#after = { kind: "id", epoch: bench.log.top.epoch, sequence: 0 };
  }

  async read({ kind, limit }: Step & { readonly kind: "page" | "close" }): Promise<void> {
    const { kept, page } = await this.#readQuietly(limit);
    const expected = kept.filter((sequence) => sequence > this.#from).slice(0, limit);
    assert.deepEqual(page.messages.map(({ sequence }) => sequence), expected, this.#text);
    const { removals } = this.#bench;
    const isTakenBack = ({ sequence }: Message) =>
      removals.some((removal) => removal.kind === "message" && removal.sequence === sequence);
    const lost = this.#list().filter((message) =>
      message.sequence > this.#from && !this.#gone.has(message.sequence) &&
      !kept.includes(message.sequence) &&
      !isTakenBack(message)
    );
    const isForeign = this.#after.kind === "id" && this.#after.epoch === "other";
    assert.equal(page.kind, lost.length > 0 || isForeign ? "gap" : "complete", this.#text);
    this.#goOn(page.kind === "gap" && kind === "close" ? page.resume : page.next, kept);
    if (page.kind === "gap") await this.#readAgain(page, kept, limit);
  }

  /**
   * A page, and what was left when it was read. Engines remove what is due when they like: a page that was read while
   * they did may be of before or after, and is read again.
   */
  async #readQuietly(limit: number): Promise<{ readonly kept: number[]; readonly page: LogPage }> {
    let kept = await this.#listKept();
    while (true) {
      const page = await this.#bench.log.read({ selector: this.#selector, after: this.#after, limit });
      const left = await this.#listKept();
      if (left.join() === kept.join()) return { kept, page };
      kept = left;
    }
  }

  /** The same gap is not told again, wherever the reader goes on. */
  async #readAgain(
    { resume, next, messages }: LogPage & { readonly kind: "gap" },
    kept: number[],
    limit: number,
  ) {
    for (const place of [resume, next]) {
      const text = formatResumeId(place);
      const after = parseId(text);
      assert.ok(after !== undefined);
      const again = await this.#bench.log.read({ selector: this.#selector, after, limit });
      if ((await this.#listKept()).join() !== kept.join()) return;
      assert.equal(again.kind, "complete", `after ${text}`);
      if (place === resume) assert.deepEqual(again.messages, messages, `after ${text}`);
    }
  }

  #goOn(place: Parameters<typeof formatResumeId>[0], kept: readonly number[]): void {
    this.#text = formatResumeId(place);
    const after = parseId(this.#text);
    assert.ok(after !== undefined);
    this.#after = after;
    this.#from = place.sequence;
    const gone = this.#list().filter(({ sequence }) => !kept.includes(sequence));
    this.#gone = new Set(gone.map(({ sequence }) => sequence));
  }

  #list(): readonly Message[] {
    return this.#bench.announced.filter(({ channel }) => matchesSelector(this.#selector, channel));
  }

  async #listKept(): Promise<number[]> {
    const after: Cursor = { kind: "earliest" };
    const { messages } = await this.#bench.log.read({ selector: this.#selector, after, limit: 10_000 });
    return messages.map(({ sequence }) => sequence);
  }
}

async function takeStep(
  { log, clock, announced }: Bench,
  readers: readonly Reader[],
  step: Step,
): Promise<void> {
  switch (step.kind) {
    case "append": {
      const drafts = step.channels.map((channel): Draft => ({
        channel,
        payload: { kind: "text", text: "x" },
        ...(step.ttl === undefined ? {} : { ttl: step.ttl }),
      }));
      return void await Promise.all(drafts.map((draft) => log.append(draft)));
    }
    case "clear":
      return void await log.clear(step.channel);
    case "remove": {
      const chosen = announced[Math.floor(step.fraction * (announced.length - 1))];
      if (chosen !== undefined) await log.remove(chosen.channel, chosen);
      return;
    }
    case "advance":
      return clock.advance(step.seconds);
    default:
      return await readers[step.reader]!.read(step);
  }
}

/** Registers the tests of one engine. */
export function testGaps(name: string, open: (rules: readonly RuleEntry[]) => Promise<Bench>): void {
  Deno.test(`${name} tells each gap once to whoever goes on from where it says, and misses nothing`, async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryReaders, fc.array(arbitraryStep, SIZE), async (chosen, steps) => {
        await using bench = await open(RULES);
        const readers = chosen.map(([selector, start]) => new Reader(bench, selector, start));
        for (const step of steps) await takeStep(bench, readers, step);
      }),
      { numRuns: 100 },
    );
  });
}
