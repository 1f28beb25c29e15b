/**
 * The benchmark: `deno task bench [scenario...] [--runs N] [--quick] [--json] [--svg FILE]`. Runs the scenarios one after
 * another against the real server and its peers, prints one table of medians, and exits with 1 when something did not
 * hold.
 */
import { parseArgs } from "node:util";
import { type Check, type Figure, takeMedians } from "./measure.ts";
import { killChildren, pinCores } from "./child.ts";
import { NOT_RUN } from "./contenders.ts";
import { drawFanOut } from "./scenarios/fan_out.ts";
import type { RunContext, Scenario } from "./scenario.ts";
import { SCENARIOS } from "./scenarios/mod.ts";
import { formatTable } from "./table.ts";

interface Options {
  readonly scenarios: readonly Scenario[];
  readonly runs: number;
  readonly quick: boolean;
  readonly json: boolean;
  /** Where to draw the plot of the fan-out. */
  readonly svg: string | undefined;
}

/** What came out of one scenario. */
interface Result {
  readonly name: string;
  readonly medians: ReadonlyMap<string, Figure>;
  readonly checks: readonly Check[];
}

const DEFAULT_RUNS = 3;
const MOST_RUNS = 100;

function readOptions(): Options {
  try {
    const { values, positionals } = parseArgs({
      args: Deno.args,
      allowPositionals: true,
      options: {
        help: { type: "boolean" },
        json: { type: "boolean" },
        quick: { type: "boolean" },
        runs: { type: "string" },
        svg: { type: "string" },
      },
    });
    if (values.help) {
      console.log(formatHelp());
      Deno.exit(0);
    }
    return {
      scenarios: positionals.length === 0 ? SCENARIOS : positionals.map(findScenario),
      runs: parseRuns(values.runs ?? (values.quick ? "1" : String(DEFAULT_RUNS))),
      quick: values.quick ?? false,
      json: values.json ?? false,
      svg: values.svg,
    };
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    console.error(`${error.message}: --help lists what there is`);
    Deno.exit(2);
  }
}

function findScenario(name: string): Scenario {
  const scenario = SCENARIOS.find((candidate) => candidate.name === name);
  if (scenario === undefined) throw new SyntaxError(`There is no scenario ${JSON.stringify(name)}`);
  return scenario;
}

function parseRuns(text: string): number {
  const runs = Number(text);
  if (!/^\d+$/.test(text) || runs < 1 || runs > MOST_RUNS) {
    throw new SyntaxError(`--runs takes a whole number from 1 to ${MOST_RUNS}`);
  }
  return runs;
}

function formatHelp(): string {
  return [
    "Measures Raindrops and its peers one after another: server and load generator on a core each, verified",
    "deliveries, medians of several runs. Peers come from npm and Debian, into a cache directory; Node must be there.",
    "",
    "Usage: deno task bench [scenario...] [--runs N] [--quick] [--json] [--svg FILE]",
    "",
    "Scenarios, all of them when none is named:",
    ...SCENARIOS.map(({ name, summary }) => `  ${name.padEnd(14)} ${summary}`),
    "",
    "Options:",
    `  --runs N     runs of each scenario (${DEFAULT_RUNS})`,
    "  --quick      one short run of everything, to see whether it works",
    "  --json       the medians as JSON instead of a table",
    "  --svg FILE   also draw the fan-out",
    "  --help       print this and exit",
    "",
    "Columns: CPU us/op is what the server's CPU spends on one message published, replayed or delivered; server and",
    "generator tell how busy each one's core was. A rate is the server's limit only where the server was the busy one.",
  ].join("\n");
}

async function runScenario(scenario: Scenario, count: number, context: RunContext): Promise<Result> {
  const { name } = scenario;
  const runs: (readonly Figure[])[] = [];
  try {
    for (let i = 1; i <= count; i++) {
      console.error(`${name}: run ${i} of ${count}`);
      runs.push(await runWithin(scenario, context));
    }
  } catch (error) {
    const text = `${name}: ${error instanceof Error ? error.message : error}`;
    return { name, medians: takeMedians(runs), checks: [{ passed: false, text }] };
  }
  const medians = takeMedians(runs);
  return { name, medians, checks: scenario.check(medians) };
}

/** @throws {Error} when a run takes too long: its servers are killed, and the run fails by that or is left alone */
async function runWithin({ deadline, run }: Scenario, context: RunContext): Promise<readonly Figure[]> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new Error(`a run took longer than ${deadline} seconds`));
    killChildren();
  }, deadline * 1_000);
  try {
    return await Promise.race([run(context), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function formatCheck({ passed, text }: Check): string {
  return `${passed ? "ok  " : "FAIL"}  ${text}`;
}

const options = readOptions();
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => {
    if (interrupted) Deno.exit(130);
    // The run fails without its server, and cleans up on its way out.
    interrupted = true;
    killChildren();
  });
}
const start = performance.now();
const pinning = await pinCores();
console.error(pinning);
/** Who was not measured, and why. */
const skipped = new Map<string, string>();
const context: RunContext = {
  quick: options.quick,
  skip: (contender, reason) => skipped.set(contender, reason),
};
const results: Result[] = [];
for (const scenario of options.scenarios) {
  if (!interrupted) results.push(await runScenario(scenario, options.runs, context));
}
if (interrupted) Deno.exit(130);
const checks = results.flatMap((result) => result.checks);
const notRun = [...Array.from(skipped, ([name, reason]) => `${name}: ${reason}`), ...NOT_RUN];
if (options.svg !== undefined) {
  await Deno.writeTextFile(options.svg, drawFanOut(new Map(results.flatMap(({ medians }) => [...medians]))));
}
if (options.json) {
  const scenarios = results.map(({ name, medians, checks }) => ({
    name,
    figures: [...medians.values()],
    checks,
  }));
  console.log(JSON.stringify({ pinning, runs: options.runs, scenarios, notRun }, undefined, 2));
} else {
  console.log(`${formatTable(results)}\n\n${checks.map(formatCheck).join("\n")}`);
  for (const line of notRun) console.log(`not run: ${line}`);
}
console.error(
  `${options.runs} runs of each scenario in ${Math.round((performance.now() - start) / 1_000)} s`,
);
Deno.exit(checks.every(({ passed }) => passed) ? 0 : 1);
