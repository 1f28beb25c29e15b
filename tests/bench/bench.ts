/**
 * The benchmark: `deno task bench [scenario...] [--runs N] [--json]`. Runs the scenarios one after another against
 * the real server, prints one table of medians, and exits with 1 when something did not hold.
 */
import { parseArgs } from "node:util";
import { type Check, type Figure, takeMedians } from "./measure.ts";
import type { Scenario } from "./scenario.ts";
import { SCENARIOS } from "./scenarios/mod.ts";
import { killServers, pinCores } from "./server_process.ts";
import { formatTable } from "./table.ts";

interface Options {
  readonly scenarios: readonly Scenario[];
  readonly runs: number;
  readonly json: boolean;
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
      options: { help: { type: "boolean" }, json: { type: "boolean" }, runs: { type: "string" } },
    });
    if (values.help) {
      console.log(formatHelp());
      Deno.exit(0);
    }
    return {
      scenarios: positionals.length === 0 ? SCENARIOS : positionals.map(findScenario),
      runs: parseRuns(values.runs ?? String(DEFAULT_RUNS)),
      json: values.json ?? false,
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
    "Measures Raindrops: server and load generator on a core each, verified deliveries, medians of several runs.",
    "",
    "Usage: deno task bench [scenario...] [--runs N] [--json]",
    "",
    "Scenarios, all of them when none is named:",
    ...SCENARIOS.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`),
    "",
    "Options:",
    `  --runs N     runs of each scenario (${DEFAULT_RUNS})`,
    "  --json       the medians as JSON instead of a table",
    "  --help       print this and exit",
    "",
    "Columns: CPU us/op is what the server's CPU spends on one message published, replayed or delivered; server and",
    "generator tell how busy each one's core was. A rate is the server's limit only where the server was the busy one.",
  ].join("\n");
}

async function runScenario(scenario: Scenario, count: number): Promise<Result> {
  const { name } = scenario;
  const runs: (readonly Figure[])[] = [];
  try {
    for (let i = 1; i <= count; i++) {
      console.error(`${name}: run ${i} of ${count}`);
      runs.push(await runWithin(scenario));
    }
  } catch (error) {
    const text = `${name}: ${error instanceof Error ? error.message : error}`;
    return { name, medians: takeMedians(runs), checks: [{ passed: false, text }] };
  }
  const medians = takeMedians(runs);
  return { name, medians, checks: scenario.check(medians) };
}

/** @throws {Error} when a run takes too long: its servers are killed, and the run fails by that or is left alone */
async function runWithin({ deadline, run }: Scenario): Promise<readonly Figure[]> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new Error(`a run took longer than ${deadline} seconds`));
    killServers();
  }, deadline * 1_000);
  try {
    return await Promise.race([run(), late.promise]);
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
    killServers();
  });
}
const start = performance.now();
const pinning = await pinCores();
console.error(pinning);
const results: Result[] = [];
for (const scenario of options.scenarios) {
  if (!interrupted) results.push(await runScenario(scenario, options.runs));
}
if (interrupted) Deno.exit(130);
const checks = results.flatMap((result) => result.checks);
if (options.json) {
  const scenarios = results.map(({ name, medians, checks }) => ({
    name,
    figures: [...medians.values()],
    checks,
  }));
  console.log(JSON.stringify({ pinning, runs: options.runs, scenarios }, undefined, 2));
} else {
  console.log(`${formatTable(results)}\n\n${checks.map(formatCheck).join("\n")}`);
}
console.error(
  `${options.runs} runs of each scenario in ${Math.round((performance.now() - start) / 1_000)} s`,
);
Deno.exit(checks.every(({ passed }) => passed) ? 0 : 1);
