/** What a scenario is: something that is measured in runs of its own, and what must hold of the medians. */
import type { Contender } from "./contenders.ts";
import type { Server } from "./child.ts";
import type { Check, Figure } from "./measure.ts";

export interface Scenario {
  /** Its name on the command line. */
  readonly name: string;
  /** One line for `--help`. */
  readonly summary: string;
  /** Longest that one run may take, in seconds; then its servers are stopped, and the run has failed. */
  readonly deadline: number;
  /** False where servers and generators share all cores, instead of one for each. */
  readonly isPinned?: boolean;
  /**
   * Runs once, against servers it starts and stops itself.
   *
   * @throws when anything does not arrive as it should
   */
  run(context: RunContext): Promise<readonly Figure[]>;
  /** What must hold of the medians of all runs, by label. */
  check(medians: ReadonlyMap<string, Figure>): readonly Check[];
}

export interface RunContext {
  /** Fewer cases and shorter measurements, to see whether everything works. */
  readonly quick: boolean;
  /** Notes that a contender was not measured, and why. */
  skip(contender: string, reason: string): void;
}

/** Starts contenders one after another and measures each. One that cannot be started is skipped. */
export async function measureEach(
  contenders: readonly Contender[],
  context: RunContext,
  measure: (contender: Contender, server: Server) => Promise<readonly Figure[]>,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const contender of contenders) {
    let server: Server;
    try {
      server = await contender.start();
    } catch (error) {
      context.skip(contender.name, error instanceof Error ? error.message : String(error));
      continue;
    }
    try {
      figures.push(...await measure(contender, server));
    } catch (cause) {
      throw new Error(`${contender.name}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    } finally {
      await server[Symbol.asyncDispose]();
    }
  }
  return figures;
}

/** Checks that one figure is at least so many times another; nothing to check where either is missing. */
export function checkRatio(
  medians: ReadonlyMap<string, Figure>,
  label: string,
  other: string,
  bound: { readonly least: number } | { readonly most: number },
): readonly Check[] {
  const ratio = (medians.get(label)?.value ?? NaN) / (medians.get(other)?.value ?? NaN);
  if (Number.isNaN(ratio)) return [];
  const [passed, wanted] = "least" in bound
    ? [ratio >= bound.least, `at least ${bound.least}`]
    : [ratio <= bound.most, `at most ${bound.most}`];
  return [{ passed, text: `${label}: ${ratio.toFixed(2)} of ${other}, and should be ${wanted}` }];
}
