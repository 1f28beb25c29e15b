/** What a process holds: memory and open files, as Linux counts them. */

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

/**
 * Reads the vitals until they satisfy, or until the time is over, and returns the last ones.
 *
 * @param meanwhile is done between looks
 */
export async function waitForVitals(
  pid: number,
  isGood: (vitals: Vitals) => boolean,
  milliseconds: number,
  meanwhile: () => Promise<void> = () => Promise.resolve(),
): Promise<Vitals> {
  const end = performance.now() + milliseconds;
  while (true) {
    const vitals = await readVitals(pid);
    if (isGood(vitals) || performance.now() > end) return vitals;
    await meanwhile();
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
}
