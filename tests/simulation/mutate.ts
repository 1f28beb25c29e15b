/** Plants a fault in a copy of the source, and lets the simulator look for it there. */
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Mutant } from "./mutants.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What the simulator needs of the repository. */
const COPIED = ["lib", "tests/simulation", "tests/soak/random.ts", "deno.lock"];

const DENO_RUN = ["run", "--no-check", "--cached-only", "--allow-all"];

/** How many schedules a planted fault may stay hidden in. */
export const MOST_SCHEDULES = 50_000;

export interface Hunt {
  /** Whether the simulator found it. */
  readonly found: boolean;
  /** What the simulator printed. */
  readonly output: string;
}

/**
 * Replaces the text of a mutant.
 *
 * @throws {Error} naming the mutant, if its text does not stand exactly once in its file
 */
export function plant(source: string, { name, file, old, new: replacement }: Mutant): string {
  const parts = source.split(old);
  if (parts.length !== 2) {
    throw new Error(
      `The mutant "${name}" is stale: its text stands ${parts.length - 1} times in lib/${file}, not once. ` +
        "Adapt it to the code of today in tests/simulation/mutants.ts",
    );
  }
  return parts.join(replacement);
}

/** The source of a mutant's file as it is. */
export async function readSource({ file }: Mutant): Promise<string> {
  return await readFile(join(ROOT, "lib", file), "utf8");
}

/** Simulates a copy of the repository with the fault in it. */
export async function hunt(mutant: Mutant): Promise<Hunt> {
  const folder = await Deno.makeTempDir({ prefix: "mutant-" });
  try {
    for (const path of COPIED) {
      await mkdir(join(folder, path, ".."), { recursive: true });
      await cp(join(ROOT, path), join(folder, path), { recursive: true });
    }
    const { imports, unstable, version } = JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8"));
    const allowScripts = { deny: ["npm:protobufjs"] };
    await writeFile(join(folder, "deno.json"), JSON.stringify({ imports, unstable, version, allowScripts }));
    await writeFile(join(folder, "lib", mutant.file), plant(await readSource(mutant), mutant));
    const main = join(folder, "tests/simulation/main.ts");
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...DENO_RUN, main, "--seeds", String(MOST_SCHEDULES), "--only", mutant.site],
      cwd: folder,
    }).output();
    const decoder = new TextDecoder();
    const output = decoder.decode(stdout) + decoder.decode(stderr);
    return { found: code === 1 && output.includes("Shrinking"), output };
  } finally {
    await rm(folder, { recursive: true });
  }
}
