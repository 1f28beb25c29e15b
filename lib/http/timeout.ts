/** Timeouts for what clients send. All share one timer, as most of them never expire. */

/** How often timeouts are checked. */
const LOOK_MILLISECONDS = 250;

interface Wait {
  /** The look at which it is over. */
  readonly end: number;
  readonly giveUp: () => void;
  /** Where it stands in the list. */
  index: number;
}

// Not a Set: its discarded tables keep all that waited alive, and with it requests, until the next full collection.
const waits: Wait[] = [];
let timer: ReturnType<typeof setInterval> | undefined;
let isStarting = false;
/** Looks so far: counting them saves each wait a look at the clock. */
let looks = 0;

/**
 * Settles as a promise does, or rejects after a timeout, with a precision of a quarter of a second.
 *
 * @param describe creates the error of a timeout
 */
export function withTimeout<T>(seconds: number, promise: Promise<T>, describe: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    // The next look comes at any moment.
    const end = looks + 1 + Math.ceil(seconds * 1_000 / LOOK_MILLISECONDS);
    const wait = { end, giveUp: () => reject(describe()), index: waits.length };
    waits.push(wait);
    if (timer === undefined && !isStarting) start();
    promise.then((value) => {
      forget(wait);
      resolve(value);
    }, (error) => {
      forget(wait);
      reject(error);
    });
  });
}

/** Starts the timer after this turn: what most waits are for is there already, and a timer costs more than they do. */
function start(): void {
  isStarting = true;
  setImmediate(() => {
    isStarting = false;
    if (waits.length > 0) timer = setInterval(look, LOOK_MILLISECONDS);
  });
}

function look(): void {
  looks++;
  // Not in order of their ends: the timeouts of several servers in a process may differ.
  for (const wait of waits.filter(({ end }) => end <= looks)) {
    wait.giveUp();
    forget(wait);
  }
}

/** Puts the last one in its place. */
function forget(wait: Wait): void {
  if (waits[wait.index] !== wait) return;
  const last = waits.pop()!;
  if (last !== wait) {
    last.index = wait.index;
    waits[wait.index] = last;
  }
  if (waits.length > 0) return;
  clearInterval(timer);
  timer = undefined;
}
