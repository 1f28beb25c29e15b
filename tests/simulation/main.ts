/**
 * The `simulate` task: `deno task simulate [--seeds N] [--from SEED]`. It runs so many schedules, shrinks the first that
 * breaks a promise, prints it, and ends with status 1.
 */
import { createPlan, formatPlan, isClusterSeed } from "./plan.ts";
import { shrink } from "./shrink.ts";
import { simulate } from "./simulation.ts";

const HELP = `Runs the real hub, engines and protocols through schedules that follow from seeds.

  --seeds N      how many (20000)
  --from SEED    the first (1)
  --only KIND    leave out the seeds of the other kind: memory or cluster
  --trace        print what happened; for a single seed`;

interface Options {
  readonly seeds: number;
  readonly from: number;
  readonly only: string | undefined;
  readonly traces: boolean;
}

/** @throws {SyntaxError} for an argument that is unknown or no number */
function parseOptions(args: readonly string[]): Options {
  const numbers = { "--seeds": 20_000, "--from": 1 };
  let traces = false;
  let only: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const [name = "", inline] = args[i]!.split("=", 2);
    if (name === "--trace") traces = true;
    else if (name === "--only") {
      only = inline ?? args[++i];
      if (only !== "memory" && only !== "cluster") throw new SyntaxError("--only takes memory or cluster");
    } else if (name === "--seeds" || name === "--from") {
      const value = Number(inline ?? args[++i]);
      if (!Number.isSafeInteger(value) || value < 0) throw new SyntaxError(`${name} takes a whole number`);
      numbers[name] = value;
    } else throw new SyntaxError(`Unknown argument "${name}"\n${HELP}`);
  }
  return { seeds: numbers["--seeds"], from: numbers["--from"], only, traces };
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    console.log(HELP);
    return 0;
  }
  const { seeds, from, only, traces } = parseOptions(args);
  const start = performance.now();
  for (let seed = from; seed < from + seeds; seed++) {
    if (isClusterSeed(seed) ? only === "memory" : only === "cluster") continue;
    const plan = createPlan(seed);
    const { failure, trace } = await simulate(plan, traces);
    if (traces) console.log([formatPlan(plan), ...trace].join("\n"));
    if (failure === undefined) continue;
    console.log(`Seed ${seed}, schedule ${seed - from + 1}: ${failure}\nShrinking ...`);
    const smallest = await shrink(plan);
    const { failure: last } = await simulate(smallest);
    console.log(`${formatPlan(smallest)}\n${last}`);
    return 1;
  }
  const seconds = (performance.now() - start) / 1_000;
  console.log(`${seeds} schedules from seed ${from} in ${seconds.toFixed(1)} s: no promise broken`);
  return 0;
}

Deno.exit(await main(Deno.args));
