/** A worker that dies when it is told to, in the ways in which threads die, is busy, or hangs while it starts. */
import { workerData } from "node:worker_threads";

export type Death = "exit" | "out of memory";

/** What a worker is told that computes until some time, in milliseconds since 1970. */
export interface Work {
  readonly number: number;
  readonly busyUntil: number;
}

/** The number of the worker that hangs. The environment is that of all threads. */
export const HANGING = "HANGING_WORKER";

const channel = new BroadcastChannel("death of workers");
channel.onmessage = ({ data }: MessageEvent<{ number: number; how: Death } | Work>) => {
  if (data.number !== workerData.number) return;
  if ("busyUntil" in data) {
    while (Date.now() < data.busyUntil);
    return;
  }
  const { how } = data;
  if (how === "exit") Deno.exit(3);
  const hoard: unknown[] = [];
  while (true) hoard.push(Array.from({ length: 10_000 }, (_, i) => ({ i })));
};

if (Deno.env.get(HANGING) === String(workerData.number)) {
  await new Promise((resolve) => setTimeout(resolve, 1_000_000));
}
await import("../../lib/workers/thread.ts");
