/** Watches what a process holds: memory and file descriptors, sampled from /proc, and judged over a run. */

export interface Sample {
  /** Seconds since the first sample. */
  readonly time: number;
  /** Resident memory, in bytes. */
  readonly memory: number;
  readonly descriptors: number;
}

/** How a run went, once it was warm: medians of its first and last part in MiB, and the trend between. */
export interface Trend {
  readonly start: number;
  readonly end: number;
  /** MiB a minute, by least squares. */
  readonly slope: number;
  readonly peak: number;
}

const MEBIBYTE = 1024 * 1024;
/** In the first part of a run caches fill, code is compiled, and the engine's heap finds its size. */
const WARM_UP = 0.5;

export class Gauge {
  readonly samples: Sample[] = [];
  readonly #pid: number;
  readonly #start = performance.now();

  constructor(pid: number) {
    this.#pid = pid;
  }

  async sample(): Promise<Sample> {
    const status = await Deno.readTextFile(`/proc/${this.#pid}/status`);
    const kilobytes = Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1] ?? NaN);
    let descriptors = 0;
    for await (const _ of Deno.readDir(`/proc/${this.#pid}/fd`)) descriptors++;
    const time = (performance.now() - this.#start) / 1_000;
    const sample = { time, memory: kilobytes * 1024, descriptors };
    this.samples.push(sample);
    return sample;
  }

  /** The trend of memory after the warm-up. */
  get trend(): Trend {
    return findTrend(this.samples);
  }
}

/** The trend of memory after the warm-up. */
export function findTrend(samples: readonly Sample[]): Trend {
  const warm = samples.slice(Math.floor(samples.length * WARM_UP));
  const memory = warm.map((sample) => sample.memory / MEBIBYTE);
  const part = Math.ceil(warm.length / 5);
  const times = warm.map(({ time }) => time / 60);
  const [middle, mean] = [average(times), average(memory)];
  const spread = times.reduce((sum, time) => sum + (time - middle) ** 2, 0);
  const common = times.reduce((sum, time, i) => sum + (time - middle) * (memory[i]! - mean), 0);
  return {
    start: median(memory.slice(0, part)),
    end: median(memory.slice(-part)),
    slope: spread === 0 ? 0 : common / spread,
    peak: Math.max(...samples.map((sample) => sample.memory / MEBIBYTE)),
  };
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
