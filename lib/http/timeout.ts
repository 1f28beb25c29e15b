/** Timeouts for what clients send. All share one timer, as most of them never expire. */

/** How often timeouts are checked. */
const LOOK_MILLISECONDS = 250;

interface Wait {
  readonly end: number;
  readonly giveUp: () => void;
}

const waits = new Set<Wait>();
let timer: ReturnType<typeof setInterval> | undefined;

/**
 * Settles as a promise does, or rejects after a timeout, with a precision of a quarter of a second.
 *
 * @param describe creates the error of a timeout
 */
export function withTimeout<T>(seconds: number, promise: Promise<T>, describe: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const wait = { end: performance.now() + seconds * 1_000, giveUp: () => reject(describe()) };
    waits.add(wait);
    timer ??= setInterval(look, LOOK_MILLISECONDS);
    promise.then((value) => {
      forget(wait);
      resolve(value);
    }, (error) => {
      forget(wait);
      reject(error);
    });
  });
}

function look(): void {
  const now = performance.now();
  for (const wait of waits) {
    // Not in order of their ends: the timeouts of several servers in a process may differ.
    if (wait.end > now) continue;
    wait.giveUp();
    forget(wait);
  }
}

function forget(wait: Wait): void {
  if (!waits.delete(wait) || waits.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}
