/** A worker that dies when it is told to, in the ways in which threads die. */
import { workerData } from "node:worker_threads";
import "../../lib/workers/thread.ts";

export type Death = "exit" | "out of memory";

const channel = new BroadcastChannel("death of workers");
channel.onmessage = ({ data: { number, how } }: MessageEvent<{ number: number; how: Death }>) => {
  if (number !== workerData.number) return;
  if (how === "exit") Deno.exit(3);
  const hoard: unknown[] = [];
  while (true) hoard.push(Array.from({ length: 10_000 }, (_, i) => ({ i })));
};
