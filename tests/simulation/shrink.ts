/** Makes a failing schedule short: leaves out steps, and waits, for as long as it still fails. */
import type { Plan, Step } from "./plan.ts";
import { simulate } from "./simulation.ts";

/** At most so many attempts: a schedule is for people to read, not the shortest there is. */
const ATTEMPTS = 2_000;

/** The shortest schedule found that still breaks a promise, the same or another. */
export async function shrink(plan: Plan): Promise<Plan> {
  let best = plan;
  let attempts = 0;
  const fails = async (steps: readonly Step[]): Promise<boolean> => {
    if (attempts++ >= ATTEMPTS) return false;
    const candidate = { ...plan, steps };
    const { failure } = await simulate(candidate);
    if (failure !== undefined) best = candidate;
    return failure !== undefined;
  };
  for (let before = Infinity; best.steps.length < before && attempts < ATTEMPTS;) {
    before = best.steps.length;
    for (let size = Math.ceil(before / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let i = 0; i < best.steps.length;) {
        if (!await fails(leaveOut(best.steps, i, size))) i += size;
      }
    }
  }
  for (let i = 0; i < best.steps.length; i++) {
    const step = best.steps[i]!;
    if (step.wait > 0) await fails(best.steps.with(i, { ...step, wait: 0 }));
    if (step.do === "publish" && step.padding > 0) {
      await fails(best.steps.with(i, { ...best.steps[i]!, padding: 0 } as Step));
    }
  }
  return best;
}

/** Without some steps. The time that they took still passes. */
function leaveOut(steps: readonly Step[], from: number, count: number): readonly Step[] {
  const wait = steps.slice(from, from + count).reduce((sum, step) => sum + step.wait, 0);
  const rest = steps.slice(from + count);
  const [next, ...others] = rest;
  return [
    ...steps.slice(0, from),
    ...(next === undefined ? [] : [{ ...next, wait: next.wait + wait }, ...others]),
  ];
}
