/**
 * What every log engine promises, as tests: `testLog("MemoryEngine", open)` registers all of them for one engine.
 * Engines may keep a little more than a rule's count (a tenth, and what came since they last looked), never less.
 */
import { testGaps } from "./gap_suite.ts";
import { openBench, type OpenLog, type OpenLogOptions, type TestLog } from "./log/bench.ts";
import { testState } from "./log/state.ts";
import { testChannels } from "./log/channels.ts";
import { testAppend } from "./log/append.ts";
import { testRead } from "./log/read.ts";
import { testRetention } from "./log/retention.ts";
import { testRemoval } from "./log/removal.ts";
import { testModel } from "./log/model.ts";

export type { OpenLog, OpenLogOptions };

/** Registers the tests of the Log port for one engine. */
export function testLog(name: string, open: OpenLog): void {
  const test: TestLog = (promise, body, rules = [], options = {}) =>
    Deno.test(`${name}.${promise}`, async () => {
      await using bench = await openBench(open, rules, options);
      await body(bench);
    });
  testState(test);
  testChannels(test);
  testAppend(test, open);
  testRead(test);
  testRetention(test);
  testRemoval(test);
  testGaps(name, (rules) => openBench(open, rules));
  testModel(name, open);
}
