/** Waits for what clients send, but not for ever: one timer for all that is waited for, as most of it comes at once. */

/** How often it is looked whether the time of anything is over. */
const LOOK_MILLISECONDS = 250;

interface Wait {
  readonly end: number;
  readonly giveUp: () => void;
}

const waits = new Set<Wait>();
let timer: ReturnType<typeof setInterval> | undefined;

/**
 * Resolves or rejects as a promise does, or rejects once the time is over, give or take a quarter of a second.
 *
 * @param describe makes the error when it is
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
    // They are in order of their beginning, not of their end: those of several servers may differ.
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
