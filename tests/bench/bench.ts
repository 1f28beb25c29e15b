/**
 * The benchmark: `deno task bench [scenario...] [--runs N] [--minutes N] [--quick] [--json] [--svg FILE]`. Runs the scenarios in
 * rounds, one after another, against the real server and its peers, prints one table of medians, and exits with 1 when something did not
 * hold.
 */
import { parseArgs } from "node:util";
import { type Check, type Figure, takeMedians } from "./measure.ts";
import { killChildren, pinCores, setPinned } from "./child.ts";
import { NOT_RUN } from "./contenders.ts";
import { drawFanOut } from "./scenarios/fan_out.ts";
import type { RunContext, Scenario } from "./scenario.ts";
import { SCENARIOS } from "./scenarios/mod.ts";
import { formatTable } from "./table.ts";

interface Options {
  readonly scenarios: readonly Scenario[];
  readonly runs: number;
  /** No run is begun that would end later, going by the longest one of its scenario. */
  readonly minutes: number;
  readonly quick: boolean;
  readonly json: boolean;
  /** Where to draw the plot of the fan-out. */
  readonly svg: string | undefined;
}

/** What came out of one scenario. */
interface Result {
  readonly name: string;
  readonly runs: number;
  readonly medians: ReadonlyMap<string, Figure>;
  readonly checks: readonly Check[];
}

const DEFAULT_RUNS = 3;
const MOST_RUNS = 100;
const MOST_MINUTES = 600;

function readOptions(): Options {
  try {
    const { values, positionals } = parseArgs({
      args: Deno.args,
      allowPositionals: true,
      options: {
        help: { type: "boolean" },
        json: { type: "boolean" },
        quick: { type: "boolean" },
        minutes: { type: "string" },
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
      runs: parseNumber("--runs", values.runs ?? (values.quick ? "1" : String(DEFAULT_RUNS)), MOST_RUNS),
      minutes: values.minutes === undefined
        ? Infinity
        : parseNumber("--minutes", values.minutes, MOST_MINUTES),
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

function parseNumber(flag: string, text: string, most: number): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > most) {
    throw new SyntaxError(`${flag} takes a whole number from 1 to ${most}`);
  }
  return number;
}

function formatHelp(): string {
  return [
    "Measures Raindrops and its peers one after another: server and load generator on a core each, but for workers,",
    "verified deliveries, medians of several runs. Peers come from npm and Debian, into a cache directory; Node must",
    "be there.",
    "",
    "Usage: deno task bench [scenario...] [--runs N] [--minutes N] [--quick] [--json] [--svg FILE]",
    "",
    "Scenarios, all of them when none is named:",
    ...SCENARIOS.map(({ name, summary }) => `  ${name.padEnd(14)} ${summary}`),
    "",
    "Options:",
    `  --runs N     runs of each scenario (${DEFAULT_RUNS})`,
    "  --minutes N  fewer runs, and at least one of each, where they would take longer",
    "  --quick      one short run of everything, to see whether it works",
    "  --json       the medians as JSON instead of a table",
    "  --svg FILE   also draw the fan-out",
    "  --help       print this and exit",
    "",
    "Columns: CPU us/op is what the server's CPU spends on one message published, replayed or delivered; server and",
    "generator tell how busy each one's core was. A rate is the server's limit only where the server was the busy one.",
  ].join("\n");
}

/** The runs of one scenario. */
class Series {
  readonly scenario: Scenario;
  readonly #runs: (readonly Figure[])[] = [];
  #error: unknown;
  /** How long its longest run took, in milliseconds. */
  #longest = 0;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
  }

  /** @param end when it must be over, by `performance.now()` */
  async run(context: RunContext, end: number): Promise<void> {
    const { name } = this.scenario;
    const start = performance.now();
    const isLate = this.#runs.length > 0 && start + this.#longest > end;
    if (this.#error !== undefined || isLate) return;
    console.error(`${name}: run ${this.#runs.length + 1}`);
    try {
      this.#runs.push(await runWithin(this.scenario, context));
    } catch (error) {
      this.#error = error;
    }
    this.#longest = Math.max(this.#longest, performance.now() - start);
  }

  summarize(): Result {
    const { name } = this.scenario;
    const medians = takeMedians(this.#runs);
    const error = this.#error;
    const checks = error === undefined
      ? this.scenario.check(medians)
      : [{ passed: false, text: `${name}: ${error instanceof Error ? error.message : error}` }];
    return { name, runs: this.#runs.length, medians, checks };
  }
}

/** @throws {Error} when a run takes too long: its servers are killed, and the run fails by that or is left alone */
async function runWithin(
  { deadline, isPinned = true, run }: Scenario,
  context: RunContext,
): Promise<readonly Figure[]> {
  setPinned(isPinned);
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
const all = options.scenarios.map((scenario) => new Series(scenario));
const end = start + options.minutes * 60_000;
// In rounds: what else goes on for a while on the machine hits all of them alike.
for (let round = 0; round < options.runs; round++) {
  for (const series of all) if (!interrupted) await series.run(context, end);
}
const results = all.map((series) => series.summarize());
if (interrupted) Deno.exit(130);
const checks = results.flatMap((result) => result.checks);
const notRun = [...Array.from(skipped, ([name, reason]) => `${name}: ${reason}`), ...NOT_RUN];
if (options.svg !== undefined) {
  await Deno.writeTextFile(options.svg, drawFanOut(new Map(results.flatMap(({ medians }) => [...medians]))));
}
if (options.json) {
  const scenarios = results.map(({ name, runs, medians, checks }) => ({
    name,
    runs,
    figures: [...medians.values()],
    checks,
  }));
  console.log(JSON.stringify({ pinning, scenarios, notRun }, undefined, 2));
} else {
  console.log(`${formatTable(results)}\n\n${checks.map(formatCheck).join("\n")}`);
  for (const line of notRun) console.log(`not run: ${line}`);
}
const counts = results.map(({ name, runs }) => `${name} ${runs}`);
console.error(`Runs: ${counts.join(", ")}; ${Math.round((performance.now() - start) / 1_000)} s`);
Deno.exit(checks.every(({ passed }) => passed) ? 0 : 1);
