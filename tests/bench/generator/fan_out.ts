/** Fan-out: deliveries a second from one publisher to many readers, with some messages in flight. */
import { Meter } from "../measure.ts";
import { Audience } from "./audience.ts";
import type { FanOutJob, Load, RateResult } from "./job.ts";
import type { Poller } from "./poller.ts";

/** Less than a delivery takes, so that no server ever waits for the generator. */
const DELIVERY_MICROSECONDS = 0.05;

/**
 * In flight is what was published and not received by all: as soon as all have a message, the next one is published.
 * The clock runs until the last reader has everything.
 */
export function fanOut(poller: Poller, job: FanOutJob): readonly RateResult[] {
  const { pids, readers, loads, warmUpMilliseconds, milliseconds } = job;
  const audience = new Audience(poller, { ...job, channel: "fan-out" });
  return loads.map((load) => {
    play(poller, audience, load, warmUpMilliseconds);
    const meter = new Meter(pids);
    return meter.stop(readers * play(poller, audience, load, milliseconds));
  });
}

function play(
  poller: Poller,
  audience: Audience,
  { inFlight, size }: Load,
  milliseconds: number,
): number {
  const before = audience.complete;
  const end = performance.now() + milliseconds;
  do {
    audience.publishUpTo(audience.complete + inFlight, size);
    poller.turn(audience.pending * DELIVERY_MICROSECONDS);
  } while (performance.now() < end);
  while (audience.complete < audience.published) poller.turn(audience.pending * DELIVERY_MICROSECONDS);
  return audience.complete - before;
}
