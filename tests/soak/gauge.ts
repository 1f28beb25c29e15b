/**
 * Watches what the server holds: resident memory and file descriptors from /proc, the heap from its own metrics. Memory
 * rises between two collections of garbage and falls with each: what counts is how low it gets.
 */
import { ServerMetrics } from "./metrics.ts";

export interface Sample {
  /** Seconds since the first sample. */
  readonly time: number;
  /** Bytes. */
  readonly memory: number;
  readonly heap: number;
  readonly descriptors: number;
}

/** The lowest of the first half of a run and of the second, and the highest of all, in MiB. */
export interface Range {
  /** By how much the lowest of each few minutes rises, in MiB a minute. */
  readonly slope: number;
  readonly first: number;
  readonly second: number;
  readonly peak: number;
}

const MEBIBYTE = 1024 * 1024;
/** Seconds in which the program is loaded and caches fill. */
const WARM_UP = 60;
/** Seconds in which garbage is collected once at least, so that the lowest sample holds little of it. */
const WINDOW = 120;

export class Gauge {
  readonly samples: Sample[] = [];
  readonly #pid: number;
  readonly #url: string;
  readonly #start = performance.now();

  constructor(server: { readonly pid: number; readonly url: string }) {
    this.#pid = server.pid;
    this.#url = server.url;
  }

  async sample(): Promise<Sample> {
    let descriptors = 0;
    for await (const _ of Deno.readDir(`/proc/${this.#pid}/fd`)) descriptors++;
    const status = await Deno.readTextFile(`/proc/${this.#pid}/status`);
    const memory = Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1] ?? NaN) * 1024;
    const heap = (await ServerMetrics.read(this.#url)).sum("process_heap_bytes");
    const time = (performance.now() - this.#start) / 1_000;
    const sample = { time, memory, heap, descriptors };
    this.samples.push(sample);
    return sample;
  }

  /** What was sampled of one kind, once the server was warm. */
  range(kind: "memory" | "heap"): Range {
    return findRange(this.samples, kind);
  }
}

/** What was sampled of one kind, once the server was warm. */
export function findRange(samples: readonly Sample[], kind: "memory" | "heap"): Range {
  const end = samples.at(-1)?.time ?? 0;
  const warm = samples.filter(({ time }) => time >= Math.min(WARM_UP, end / 2));
  const half = ((warm[0]?.time ?? 0) + end) / 2;
  const lowest = (part: readonly Sample[]) => Math.min(...part.map((sample) => sample[kind] / MEBIBYTE));
  return {
    slope: findSlope(warm, kind),
    first: lowest(warm.filter(({ time }) => time < half)),
    second: lowest(warm.filter(({ time }) => time >= half)),
    peak: Math.max(...samples.map((sample) => sample[kind] / MEBIBYTE)),
  };
}

/**
 * The slope of the lowest samples of consecutive windows: the median of the slopes between any two of them (Theil and Sen),
 * which one window without a collection does not bend.
 */
function findSlope(warm: readonly Sample[], kind: "memory" | "heap"): number {
  const begin = warm[0]?.time ?? 0;
  const windows = Object.values(Object.groupBy(warm, ({ time }) => Math.floor((time - begin) / WINDOW)));
  // The last one is cut short.
  const points = windows.slice(0, -1).map((samples = []) => {
    const lowest = samples.reduce((a, b) => b[kind] < a[kind] ? b : a);
    return { minute: lowest.time / 60, mebibytes: lowest[kind] / MEBIBYTE };
  });
  const slopes = points.flatMap((a, i) =>
    points.slice(i + 1).map((b) => (b.mebibytes - a.mebibytes) / (b.minute - a.minute))
  ).sort((a, b) => a - b);
  return slopes.length === 0 ? 0 : slopes[Math.floor(slopes.length / 2)]!;
}
