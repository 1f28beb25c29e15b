/**
 * The `test` task: finds a Chromium, runs `deno test` with the arguments given here, and prints the counts alone on
 * the last line: `12 passed, 0 failed`, and `, 1 skipped` where tests are ignored.
 */
import { existsSync } from "node:fs";
import { findChromium } from "./browser.ts";

const SUMMARY = /^(?:ok|FAILED) \| (\d+) passed.*?\| (\d+) failed(?:.*?\| (\d+) ignored)?/;
// deno-lint-ignore no-control-regex -- colours are control characters
const COLOUR = /\x1b\[[0-9;]*m/g;

async function runTests(args: readonly string[]): Promise<{ code: number; summary: RegExpExecArray | null }> {
  const chromiumPath = await findChromium();
  console.log(`Chromium: ${chromiumPath}`);
  const files = args.some((arg) => arg.endsWith(".ts") || existsSync(arg)) ? [] : ["tests/"];
  const child = new Deno.Command(Deno.execPath(), {
    // The types are checked by `deno check`, which the `ok` task runs first.
    args: ["test", "--allow-all", "--no-check", ...args, ...files],
    env: {
      CHROMIUM_PATH: chromiumPath,
      // Standard output is read here on its way, so Deno no longer sees that it is a terminal.
      ...(Deno.stdout.isTerminal() && !Deno.noColor ? { FORCE_COLOR: "1" } : {}),
    },
    stdout: "piped",
  }).spawn();

  let summary: RegExpExecArray | null = null;
  let unfinished = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    for (let written = 0; written < chunk.length;) {
      written += await Deno.stdout.write(chunk.subarray(written));
    }
    const lines = (unfinished + decoder.decode(chunk, { stream: true })).split("\n");
    unfinished = lines.pop() ?? "";
    // The last one counts: what a test prints may look like a summary too.
    for (const line of lines) summary = SUMMARY.exec(line.replace(COLOUR, "")) ?? summary;
  }
  const { code } = await child.status;
  return { code, summary };
}

let code = 1;
let summary: RegExpExecArray | null = null;
try {
  ({ code, summary } = await runTests(Deno.args));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
}
const [passed, failed, skipped] = [1, 2, 3].map((group) => Number(summary?.[group] ?? 0));
// A run that ended badly without a failed test has failed all the same.
const shownFailures = code !== 0 && failed === 0 ? 1 : failed;
console.log(`\n${passed} passed, ${shownFailures} failed${skipped ? `, ${skipped} skipped` : ""}`);
Deno.exit(code);
