/**
 * A clock for deadlines, which does not jump when somebody sets the system's clock. Engines measure ages and ttls by
 * it.
 */

/**
 * Creates a clock that starts at the time of `now` and never goes back. Over the system's clock, it counts the time
 * that has really passed, without that in which the machine was suspended. Over another clock, it counts each step
 * forwards, and none backwards.
 *
 * @param now milliseconds since 1970
 * @returns a clock in whole milliseconds
 */
export function createSteadyClock(now: () => number = Date.now): () => number {
  const start = now();
  if (now === Date.now) {
    const started = performance.now();
    return () => start + Math.floor(performance.now() - started);
  }
  let last = start;
  let elapsed = 0;
  return () => {
    const time = now();
    elapsed += Math.max(0, time - last);
    last = time;
    return start + elapsed;
  };
}
