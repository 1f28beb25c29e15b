/** Long work in slices: the event loop runs one slice a turn, whosever it is, so that others never wait for long. */

/** How long a slice lasts, in milliseconds. */
const SLICE_MILLISECONDS = 3;

const waiting: (() => void)[] = [];
let isScheduled = false;

/** Resolves when it is the caller's turn for a slice: at most one caller's in each turn of the event loop. */
export function nextSlice(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    schedule();
  });
}

/** Tells work when its slice is over. The first slice begins when it is made. */
export class SliceClock {
  // Where others wait already, one waits from the start.
  #end = performance.now() + (waiting.length > 0 ? 0 : SLICE_MILLISECONDS);
  #count = 0;

  /** Whether to await {@linkcode next} before going on. Cheap enough to be asked for every item. */
  get isOver(): boolean {
    // Reading the clock costs more than most items do.
    return (++this.#count & 15) === 0 && performance.now() >= this.#end;
  }

  /** Waits for the next slice. */
  async next(): Promise<void> {
    await nextSlice();
    this.#end = performance.now() + SLICE_MILLISECONDS;
  }
}

function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(() => {
    isScheduled = false;
    waiting.shift()?.();
    if (waiting.length > 0) schedule();
  });
}
