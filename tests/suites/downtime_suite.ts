/**
 * Scheduled messages and a node that is down for longer than the engine knows keys, and than history goes back:
 * `testDowntime("SQLite", open)` registers the tests for one engine.
 */
import assert from "node:assert/strict";
import { createDraft, type DraftOptions } from "../../lib/core/draft.ts";
import { MessagingError } from "../../lib/core/errors.ts";
import { Hub } from "../../lib/core/hub.ts";
import type { Log, LogState } from "../../lib/core/log.ts";
import type { Message } from "../../lib/core/message.ts";
import { Rules } from "../../lib/core/rules.ts";
import { Scheduler } from "../../lib/core/schedule/scheduler.ts";
import { FakeClock } from "../fakes/clock.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";

/** Opens what the engine kept. The tests dispose what it gave before, and what it gave last. */
export type OpenKept = (options: { rules: Rules; now: () => number }) => Promise<Log>;

const RULES = [{ channels: "**", history: { messages: 1 } }] as const;
const LIMITS = {
  maxScheduled: 10,
  maxScheduledBytes: 10_000,
  maxScheduleAhead: 86_400,
  maxMessageBytes: 1_000,
};
/** Enough that no engine has what came before them. */
const OTHERS = 200;

/** One run of a server: its scheduler, and what was stored meanwhile. */
class Run implements AsyncDisposable {
  readonly seen: Message[] = [];
  readonly scheduler: Scheduler;
  readonly hub: Hub;
  readonly state: LogState;
  readonly #log: Log;

  constructor(log: Log, rules: Rules, clock: FakeClock, state = log.state) {
    assert.ok(state !== undefined);
    this.#log = log;
    this.state = state;
    const logger = new RecordingLogger();
    this.hub = new Hub({ log, rules, logger, maxMessageBytes: 1_000 });
    this.hub.observe((messages) => void this.seen.push(...messages));
    const clocks = { now: clock.now, steadyNow: clock.now };
    this.scheduler = new Scheduler({
      ...{ hub: this.hub, log, rules, state, logger, limits: LIMITS, cluster: undefined },
      ...clocks,
    });
  }

  /** Resolves once something is so; the deadline of the tests ends the wait for what never is. */
  async until(isSo: () => boolean | Promise<boolean>): Promise<void> {
    while (!await isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async keys(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const prefix of ["scheduled-", "sent-"]) {
      for await (const { key } of this.state.list(prefix)) found.push(key);
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.scheduler[Symbol.asyncDispose]();
    await this.#log[Symbol.asyncDispose]();
  }
}

/** The state of a node that dies before it removes anything. */
function withoutDelete(state: LogState | undefined): LogState {
  assert.ok(state !== undefined);
  return {
    read: state.read.bind(state),
    write: state.write.bind(state),
    list: state.list.bind(state),
    delete: () => Promise.reject(new MessagingError("log_unavailable", "the node is dead")),
  };
}

function draftOf(text: string, more: Partial<DraftOptions> = {}) {
  return createDraft({ channel: "news", payload: { kind: "text", text }, ...more });
}

function countTexts(messages: readonly Message[], wanted: string): number {
  return messages.filter(({ payload }) => payload.kind === "text" && payload.text === wanted).length;
}

/** @param test registers a test, or says why it does not run */
export function testDowntime(
  name: string,
  withEngine: (use: (open: OpenKept) => Promise<void>) => Promise<void>,
  test: (name: string, body: () => Promise<void>) => void = Deno.test,
): void {
  for (const more of [{}, { ephemeral: true }]) {
    const what = "ephemeral" in more ? "a transient message" : "a message that history has lost";
    test(`${name}: an hour after a node died that had published ${what}, it is not published again`, () =>
      withEngine(async (open) => {
        const rules = new Rules(RULES);
        const clock = new FakeClock(Date.now());
        {
          const log = await open({ rules, now: clock.now });
          await using dying = new Run(log, rules, clock, withoutDelete(log.state));
          await dying.scheduler.schedule(draftOf("rain", more), { kind: "delay", milliseconds: 1_000 }, "");
          clock.advance(1);
          await dying.until(() => countTexts(dying.seen, "rain") === 1);
          for (let i = 0; i < OTHERS; i++) await dying.hub.publish(draftOf("other"));
        }
        clock.advance(3_600);
        await using next = new Run(await open({ rules, now: clock.now }), rules, clock);
        await next.until(async () => (await next.keys()).length === 0);
        await next.hub.publish(draftOf("end"));
        assert.equal(countTexts(next.seen, "rain"), 0);
        assert.equal(countTexts(next.seen, "end"), 1);
      }));
  }

  test(`${name}: an hour after a node died that was about to publish, the message is published`, () =>
    withEngine(async (open) => {
      const rules = new Rules(RULES);
      const clock = new FakeClock(Date.now());
      {
        await using dying = new Run(await open({ rules, now: clock.now }), rules, clock);
        const { promise, resolve } = Promise.withResolvers<void>();
        dying.hub.publish = () => {
          resolve();
          return Promise.reject(new MessagingError("log_unavailable", "the node is dead"));
        };
        await dying.scheduler.schedule(draftOf("rain"), { kind: "delay", milliseconds: 1_000 }, "");
        await dying.scheduler.schedule(
          draftOf("hail", { channel: "other", ephemeral: true }),
          { kind: "delay", milliseconds: 1_000 },
          "",
        );
        clock.advance(1);
        await promise;
      }
      clock.advance(3_600);
      await using next = new Run(await open({ rules, now: clock.now }), rules, clock);
      await next.until(async () => (await next.keys()).length === 0);
      assert.deepEqual([countTexts(next.seen, "rain"), countTexts(next.seen, "hail")], [1, 1]);
    }));

  test(`${name}: a message scheduled again under its key is published again an hour later, not at once`, () =>
    withEngine(async (open) => {
      const rules = new Rules(RULES);
      const clock = new FakeClock(Date.now());
      await using run = new Run(await open({ rules, now: clock.now }), rules, clock);
      for (const [pause, published] of [[0, 1], [60, 1], [3_600, 2]] as const) {
        clock.advance(pause);
        const draft = draftOf("rain", { idempotencyKey: "k", publisher: "ann" });
        await run.scheduler.schedule(draft, { kind: "delay", milliseconds: 1_000 }, "ann");
        clock.advance(1);
        await run.until(async () => (await run.keys()).length === 0);
        assert.equal(countTexts(run.seen, "rain"), published, `after ${pause} seconds`);
      }
    }));
}
