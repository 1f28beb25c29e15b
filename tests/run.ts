/**
 * The `test` task: finds a Chromium, runs the groups of `groups.ts`, and prints the counts alone on the last line:
 * `12 passed, 0 failed`, and `, 1 skipped` where tests are ignored.
 *
 * `--groups=units,node` runs some groups only. Names of test files run those files instead, one after the other. All
 * other arguments are passed on to `deno test`.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { findChromium, findShell } from "./browser.ts";
import { installMissing, PROGRAMS } from "./debian.ts";
import { findTestFiles, type Group, selectStages } from "./groups.ts";

const PASSED = / \.\.\. ok \(/;
const SUMMARY = /^(?:ok|FAILED) \| (\d+) passed.*?\| (\d+) failed(?:.*?\| (\d+) ignored)?/;
// deno-lint-ignore no-control-regex -- colours are control characters
const COLOUR = /\x1b\[[0-9;]*m/g;
/** Told by `deno test` about each test that goes on for 1, 2, 4, 8 ... minutes. */
const LONG = /'(.+)' has been running for over \((\d+)m/;
/** A test that runs for so many minutes waits for something that does not come: its run is ended. */
const LONGEST = 8;
const GROUPS = "--groups=";
/** The packages of tests have an import map and a lock file of their own, so that serving fetches none of them. */
const PACKAGES = [
  `--import-map=${fromHere("imports.json")}`,
  `--lock=${fromHere("deno.lock")}`,
  "--frozen",
];

interface Run {
  /** Begins each line of what it prints; empty where nothing else runs beside it. */
  readonly prefix: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

interface Result {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** What `deno test` told about the failed tests, at the end. */
  readonly errors: readonly string[];
}

function fromHere(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** Runs `deno test` once. */
async function runTests({ prefix, args, env }: Run): Promise<Result> {
  const child = new Deno.Command(Deno.execPath(), {
    // The types are checked by `deno check`, which the `ok` task runs first.
    args: ["test", "--allow-all", "--no-check", ...PACKAGES, ...args],
    env: {
      ...env,
      // Standard output is read here on its way, so Deno no longer sees that it is a terminal.
      ...(Deno.stdout.isTerminal() && !Deno.noColor ? { FORCE_COLOR: "1" } : {}),
    },
    stdout: "piped",
  }).spawn();

  let summary: RegExpExecArray | null = null;
  let errors: string[] | undefined;
  const hung: string[] = [];
  let passedSoFar = 0;
  let killTimer: ReturnType<typeof setTimeout> | undefined;
  const takeLine = (line: string) => {
    console.log(prefix + line);
    const plain = line.replace(COLOUR, "");
    // The last one counts: what a test prints may look like a summary too.
    summary = SUMMARY.exec(plain) ?? summary;
    if (plain.trim() === "ERRORS") errors = [];
    errors?.push(line);
    if (PASSED.test(plain)) passedSoFar++;
    const [, test, minutes] = LONG.exec(plain) ?? [];
    if (test === undefined || Number(minutes) < LONGEST) return;
    hung.push(`${prefix}Ended, as this test has run for ${LONGEST} minutes: ${test}`);
    console.log(hung.at(-1));
    if (killTimer !== undefined) return;
    // Interrupted, `deno test` still names the tests that were running.
    child.kill("SIGINT");
    killTimer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  };
  let unfinished = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (unfinished + text).split("\n");
    unfinished = lines.pop() ?? "";
    lines.forEach(takeLine);
  }
  if (unfinished !== "") takeLine(unfinished);
  const { code } = await child.status;
  clearTimeout(killTimer);
  if (summary === null) {
    return { passed: passedSoFar, failed: Math.max(hung.length, 1), skipped: 0, errors: hung };
  }
  const [passed = 0, failed = 0, skipped = 0] = [1, 2, 3].map((part) => Number(summary?.[part] ?? 0));
  // A run that ended badly without a failed test has failed all the same.
  return {
    passed,
    failed: code !== 0 ? Math.max(failed, 1) : failed,
    skipped,
    errors: [...(errors ?? []), ...hung],
  };
}

async function runGroup(group: Group, options: readonly string[], isAlone: boolean): Promise<Result> {
  const { name, jobs, env } = group;
  const files = findTestFiles(name);
  if (files.length === 0) throw new Error(`The group "${name}" has no test files`);
  const start = performance.now();
  const result = await runTests({
    prefix: isAlone ? "" : `[${name}] `,
    args: [...(jobs === 1 ? [] : ["--parallel"]), ...options, ...files],
    env: { ...env, DENO_JOBS: String(jobs) },
  });
  const seconds = Math.round((performance.now() - start) / 1_000);
  console.log(`Group ${name}: ${formatCounts(result)} (${seconds} s)\n`);
  return result;
}

async function runGroups(stages: readonly (readonly (readonly Group[])[])[], options: readonly string[]) {
  const results: Result[] = [];
  for (const lanes of stages) {
    await Promise.all(lanes.map(async (groups) => {
      for (const group of groups) results.push(await runGroup(group, options, lanes.length === 1));
    }));
  }
  return results;
}

async function run(args: readonly string[]): Promise<Result[]> {
  const wanted = args.find((arg) => arg.startsWith(GROUPS))?.slice(GROUPS.length).split(",");
  const options = args.filter((arg) => !arg.startsWith(GROUPS));
  const stages = selectStages(wanted);
  const namesFiles = options.some((arg) => arg.endsWith(".ts") || existsSync(arg));
  // Once for all, before groups that run side by side each find them missing.
  if (!namesFiles) await installMissing(PROGRAMS);
  if (namesFiles || stages.flat(2).some(({ name }) => name === "browser")) {
    // Named by hand, one serves for all.
    const shell = await findShell();
    const chromium = await findChromium();
    console.log(`Chromium: ${[...new Set([shell, chromium])].join(", ")}`);
    Deno.env.set("CHROMIUM_SHELL_PATH", shell);
    Deno.env.set("CHROMIUM_PATH", chromium);
  }
  return namesFiles
    ? [await runTests({ prefix: "", args: options, env: {} })]
    : await runGroups(stages, options);
}

function formatCounts({ passed, failed, skipped }: Omit<Result, "errors">): string {
  return `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`;
}

let results: Result[];
try {
  results = await run(Deno.args);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  results = [{ passed: 0, failed: 1, skipped: 0, errors: [] }];
}
// Each group has told its errors at its own end, which others may have pushed out of sight.
if (results.length > 1) { for (const { errors } of results) for (const line of errors) console.log(line); }
const sum = (count: (result: Result) => number) => results.reduce((all, result) => all + count(result), 0);
const failed = sum((result) => result.failed);
console.log(
  `\n${formatCounts({ passed: sum((r) => r.passed), failed, skipped: sum((r) => r.skipped) })}`,
);
Deno.exit(failed === 0 ? 0 : 1);
