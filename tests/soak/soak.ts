/**
 * The `soak` task: `deno task soak [--minutes N] [--seed S] [--listener L] [--engine URL]`. Lets publishers and readers
 * loose on the real server for a while, checks everything that arrives, and exits with 1 when something did not hold.
 */
import { parseArgs } from "node:util";
import { formatReport, runSoak } from "./soak_run.ts";

const HELP = `Lets many clients loose on the real server, and checks that each gets what it must.

Usage: deno task soak [--minutes N] [--seed S] [--listener deno|node] [--engine URL]

  --minutes N      how long (20); memory is judged from 15 minutes on
  --seed S         what chance starts from; the same seed plays the same parts
  --listener, --engine, and any flag after --   are handed to the server; the engine is a SQLite file by default`;

interface Settings {
  readonly minutes: number;
  readonly seed: number;
  readonly flags: readonly string[];
  readonly hasEngine: boolean;
}

function readSettings(): Settings {
  try {
    const text = { type: "string" } as const;
    const { values, positionals } = parseArgs({
      args: Deno.args,
      allowPositionals: true,
      options: { help: { type: "boolean" }, minutes: text, seed: text, listener: text, engine: text },
    });
    if (values.help) {
      console.log(HELP);
      Deno.exit(0);
    }
    const flags = (["listener", "engine"] as const).flatMap((name) =>
      values[name] === undefined ? [] : [`--${name}`, values[name]]
    );
    return {
      minutes: parseNumber("--minutes", values.minutes ?? "20", 24 * 60),
      seed: parseNumber("--seed", values.seed ?? String(Date.now() % 1_000_000), 2 ** 31),
      flags: [...flags, ...positionals],
      hasEngine: values.engine !== undefined,
    };
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    console.error(`${error.message}: see --help`);
    Deno.exit(2);
  }
}

function parseNumber(name: string, text: string, most: number): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || value <= 0 || value > most) {
    throw new SyntaxError(`${name} takes a number up to ${most}`);
  }
  return value;
}

const { minutes, seed, flags, hasEngine } = readSettings();
const folder = await Deno.makeTempDir({ prefix: "soak-" });
console.error(`${minutes} minutes with seed ${seed}`);
try {
  const report = await runSoak({
    seconds: minutes * 60,
    seed,
    flags: hasEngine ? flags : ["--engine", `sqlite:${folder}/raindrops.db`, ...flags],
    onProgress: (line) => console.error(line),
  });
  console.log(formatReport(report));
  Deno.exitCode = report.faults.length === 0 ? 0 : 1;
} finally {
  await Deno.remove(folder, { recursive: true });
}
