/** What connections themselves cost: how many open in a second, and what memory an idle one takes. */
import { Meter, readMemory } from "../measure.ts";
import type { ConnectJob, IdleJob, MemoryResult, RateResult } from "./job.ts";
import { openConnections } from "./opener.ts";
import type { Poller } from "./poller.ts";

const CHANNEL = "idle";

/** The clock runs until all connections are open. */
export function countConnects(poller: Poller, { port, pids, reader, count }: ConnectJob): RateResult {
  const options = { port, endpoint: reader, count, channel: () => CHANNEL, take: () => () => {} };
  // Compiles the server's code for it.
  openConnections(poller, options);
  const meter = new Meter(pids);
  openConnections(poller, options);
  return meter.stop(count);
}

/** Compares the server's memory before and after. */
export function weighIdle(poller: Poller, job: IdleJob): MemoryResult {
  const { port, pids, reader, count, settleMilliseconds } = job;
  const options = { port, endpoint: reader, channel: () => CHANNEL, take: () => () => {} };
  // What the first connections need is needed once.
  openConnections(poller, { ...options, count: 1 });
  settle(poller, settleMilliseconds);
  const before = sumMemory(pids);
  openConnections(poller, { ...options, count });
  settle(poller, settleMilliseconds);
  return { bytesPerConnection: (sumMemory(pids) - before) / count };
}

function settle(poller: Poller, milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end) poller.turn();
}

function sumMemory(pids: readonly number[]): number {
  return pids.reduce((bytes, pid) => bytes + (readMemory(pid)?.now ?? NaN) * 1024 * 1024, 0);
}
