/** What a process holds and how long it worked, as Linux counts it: memory, open files, time of the processor. */

const POLL_MILLISECONDS = 50;

export interface Vitals {
  /** Resident memory in bytes. */
  readonly memory: number;
  /** Open file descriptors, sockets among them. */
  readonly files: number;
}

export async function readVitals(pid: number): Promise<Vitals> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  let files = 0;
  for await (const _ of Deno.readDir(`/proc/${pid}/fd`)) files++;
  return { memory: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024, files };
}

/** How long the main thread of a process has been at work, in milliseconds (Documentation/scheduler/sched-stats.rst). */
export function readThreadMilliseconds(pid: number): number {
  const [nanoseconds] = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/schedstat`).split(" ");
  return Number(nanoseconds) / 1e6;
}

/**
 * Reads the vitals until they satisfy, or until the time is over, and returns the last ones.
 *
 * @param meanwhile is done between looks
 */
export async function waitForVitals(
  pid: number,
  isGood: (vitals: Vitals) => boolean,
  milliseconds: number,
  meanwhile: () => Promise<unknown> = () => Promise.resolve(),
): Promise<Vitals> {
  const end = performance.now() + milliseconds;
  while (true) {
    const vitals = await readVitals(pid);
    if (isGood(vitals) || performance.now() > end) return vitals;
    await meanwhile();
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
}
