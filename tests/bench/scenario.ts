/** What a scenario is: something that is measured in runs of its own, and what must hold of the medians. */
import type { Check, Figure } from "./measure.ts";

export interface Scenario {
  /** Its name on the command line. */
  readonly name: string;
  /** One line for `--help`. */
  readonly summary: string;
  /** Longest that one run may take, in seconds; then its servers are stopped, and the run has failed. */
  readonly deadline: number;
  /**
   * Runs once, against servers it starts and stops itself.
   *
   * @throws when anything does not arrive as it should
   */
  run(): Promise<readonly Figure[]>;
  /** What must hold of the medians of all runs, by label. */
  check(medians: ReadonlyMap<string, Figure>): readonly Check[];
}
