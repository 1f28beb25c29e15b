/** What is measured and how: rates, medians, and what the operating system says of a process. Scenarios use it. */

/** What a number of operations cost while they were measured. */
export interface Cost {
  /** CPU time of the server for one operation, in microseconds. */
  readonly microseconds: number;
  /** CPU time over elapsed time: who is the bottleneck when it is near 1. */
  readonly serverBusy: number;
  readonly generatorBusy: number;
}

/** One figure of one run. Figures with the same label are put together into their median. */
export interface Figure {
  readonly label: string;
  readonly value: number;
  readonly unit: "/s" | "ms" | "MB" | "KB" | "x";
  /** Missing where it says nothing, or the operating system does not tell. */
  readonly cost?: Cost | undefined;
  /** Other figures of the scenario that this one is shown in relation to. */
  readonly ratios?: readonly { readonly label: string; readonly name: string }[];
}

/** Something that must hold of the medians. */
export interface Check {
  readonly passed: boolean;
  readonly text: string;
}

/** Ticks in /proc/PID/stat: 100 a second on every Linux there is. */
const TICK_MICROSECONDS = 10_000;

/** Measures what a server does in a span of time. */
export class Meter {
  readonly #pids: readonly number[];
  readonly #start = performance.now();
  readonly #serverStart: number | undefined;
  readonly #generatorStart: number | undefined;

  /** Starts the clock. */
  constructor(pids: readonly number[]) {
    this.#pids = pids;
    this.#serverStart = readCpuMicroseconds(pids);
    this.#generatorStart = readCpuMicroseconds([Deno.pid]);
  }

  /** Stops the clock: operations a second, and their cost. */
  stop(operations: number): { readonly rate: number; readonly cost: Cost | undefined } {
    const elapsed = performance.now() - this.#start;
    const rate = operations / elapsed * 1_000;
    const server = readCpuMicroseconds(this.#pids);
    const generator = readCpuMicroseconds([Deno.pid]);
    if (
      server === undefined || generator === undefined || this.#serverStart === undefined ||
      this.#generatorStart === undefined
    ) return { rate, cost: undefined };
    const microseconds = server - this.#serverStart;
    const cost = {
      microseconds: microseconds / operations,
      serverBusy: microseconds / 1_000 / elapsed,
      generatorBusy: (generator - this.#generatorStart) / 1_000 / elapsed,
    };
    return { rate, cost };
  }
}

/** CPU time of all threads of some processes; undefined where there is no /proc. */
function readCpuMicroseconds(pids: readonly number[]): number | undefined {
  const times = pids.map((pid) => readThreadMicroseconds(pid) ?? readTickedMicroseconds(pid));
  return times.reduce((sum, time) => sum === undefined || time === undefined ? undefined : sum + time, 0);
}

/** To the nanosecond, where the kernel keeps it. Threads that have ended are missing; the server's stay. */
function readThreadMicroseconds(pid: number): number | undefined {
  try {
    let nanoseconds = 0;
    for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number((readProcess(pid, `task/${name}/schedstat`) ?? "").split(" ")[0]);
    }
    return nanoseconds > 0 ? nanoseconds / 1_000 : undefined;
  } catch {
    return undefined;
  }
}

function readTickedMicroseconds(pid: number): number | undefined {
  const text = readProcess(pid, "stat");
  if (text === undefined) return undefined;
  // The name in parentheses may hold anything; user and system time are the 12th and 13th field behind it.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MICROSECONDS;
}

/** Resident memory of a process in MB, now and at its peak since `resetPeak`; undefined where there is no /proc. */
export function readMemory(pid: number): { readonly now: number; readonly peak: number } | undefined {
  const text = readProcess(pid, "status");
  if (text === undefined) return undefined;
  const read = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1]) / 1_024;
  return { now: read("VmRSS"), peak: read("VmHWM") };
}

/** Lets the peak of a process's memory start again from what it has now. */
export function resetPeak(pid: number): void {
  try {
    Deno.writeTextFileSync(`/proc/${pid}/clear_refs`, "5");
  } catch {
    // Not allowed here: the peak is then that of the process's whole life, which is on the safe side.
  }
}

function readProcess(pid: number, file: string): string | undefined {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/${file}`);
  } catch {
    return undefined;
  }
}

/** The middle value; of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? NaN;
  const lower = sorted[(sorted.length - 1) >> 1] ?? NaN;
  return (lower + upper) / 2;
}

/** The value that so many percent of the values do not exceed; the values must be sorted. */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * percent / 100) - 1)] ?? NaN;
}

/** Puts the figures of several runs together, by label, in the order of the first run. */
export function takeMedians(runs: readonly (readonly Figure[])[]): ReadonlyMap<string, Figure> {
  const byLabel = Map.groupBy(runs.flat(), ({ label }) => label);
  return new Map(Array.from(byLabel, ([label, figures]) => {
    const costs = figures.flatMap(({ cost }) => cost ?? []);
    const cost = costs.length === 0 ? undefined : {
      microseconds: median(costs.map(({ microseconds }) => microseconds)),
      serverBusy: median(costs.map(({ serverBusy }) => serverBusy)),
      generatorBusy: median(costs.map(({ generatorBusy }) => generatorBusy)),
    };
    return [label, { ...figures[0]!, value: median(figures.map(({ value }) => value)), cost }];
  }));
}

/** Resolves after a pause. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
