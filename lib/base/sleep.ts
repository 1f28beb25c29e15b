/** A pause that ends early when its signal fires. What tries again after a failure waits with it. */

/**
 * Resolves after a pause, or at once when the signal fires.
 *
 * @param milliseconds at most 2^31 - 1
 */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
  });
}
