/**
 * A process of its own for the tests of the SQLite engine: opens the log its first argument names, then prints a
 * line for each turn's worth of acknowledged offsets, until it is killed.
 */
import { Rules } from "../../../lib/core/rules.ts";
import { openEngine } from "../../../lib/engines/mod.ts";

const encoder = new TextEncoder();
const print = (line: string) => void Deno.stdout.writeSync(encoder.encode(line + "\n"));

const [url = "", size = "8"] = Deno.args;
const rules = new Rules([{ channels: "**", history: { messages: 1_000_000 } }]);
try {
  const log = await openEngine(url, { rules, logger: { write: () => {} } });
  print(`open ${log.top.epoch}`);
  for (let i = 0; Number(size) > 0; i++) {
    const drafts = Array.from({ length: Number(size) }, (_, k) => ({
      channel: k % 2 === 0 ? "even" : "odd",
      payload: { kind: "text" as const, text: `${i}.${k} ${"x".repeat(100)}` },
    }));
    const receipts = await Promise.all(drafts.map((draft) => log.append(draft)));
    print(`stored ${receipts.map(({ offset, sequence }) => `${offset}:${sequence}`).join(" ")}`);
  }
  await log[Symbol.asyncDispose]();
} catch (error) {
  print(`refused ${error instanceof Error ? error.message : error}`);
  // An open log would keep the process, and whoever waits for it.
  Deno.exit();
}
