/** Long work in slices: the event loop runs one slice a turn, whosever it is, so that others never wait for long. */
import { Fifo } from "./fifo.ts";

/** How long a slice lasts unless its owner says otherwise, in milliseconds, and how long slices may follow each other. */
const SLICE_MILLISECONDS = 3;

/** Without a slice for so long, sockets have had their turn. */
const IDLE_MILLISECONDS = 50;

const waiting = new Fifo<() => void>();
let isScheduled = false;
/** When the last slice ended, and when sockets had their turns before it. */
let endedAt = -Infinity;
let restedAt = -Infinity;

/** Resolves when it is the caller's turn for a slice: at most one caller's in each turn of the event loop. */
export function nextSlice(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    schedule();
  });
}

/** Tells work when its slice is over. The first slice begins when it is made. */
export class SliceClock {
  #end: number;
  #count = 0;
  readonly #items: number;
  readonly #milliseconds: number;

  /**
   * @param items between two looks at the clock, which cost more than most items do
   * @param milliseconds of a slice
   */
  constructor(items = 16, milliseconds = SLICE_MILLISECONDS) {
    this.#items = items;
    this.#milliseconds = milliseconds;
    // Where others wait already, one waits from the start.
    this.#end = performance.now() + (waiting.length > 0 ? 0 : milliseconds);
  }

  /** Whether to await {@linkcode next} before going on. Cheap enough to be asked for every item. */
  get isOver(): boolean {
    return ++this.#count % this.#items === 0 && performance.now() >= this.#end;
  }

  /** Waits for the next slice. */
  async next(): Promise<void> {
    await nextSlice();
    this.#end = performance.now() + this.#milliseconds;
  }
}

/** When the first of what was read in this turn of the event loop was read; undefined until then. */
let readSince: number | undefined;

/**
 * Whether what was read from sockets in this turn of the event loop has taken as long as a slice: then the rest waits
 * for one. To be asked before each thing that is read: what has arrived at all sockets is handed over in one turn.
 */
export function isReadingOver(): boolean {
  const now = performance.now();
  if (readSince === undefined) {
    readSince = now;
    // An immediate runs when everything has been handed over that this turn has read.
    setImmediate(() => readSince = undefined);
  }
  return now - readSince >= SLICE_MILLISECONDS;
}

/**
 * Immediates starve sockets: while one follows another, Deno hardly looks at sockets (measured: of ten slices of 10 ms,
 * all ran before a request that had arrived with them). Before a timer it looks at once. So short slices follow each
 * other as immediates, and a timer comes once they have taken together what one may take. Nothing more than that: with
 * another turn of the loop, readers that catch up beside a busy publisher took twice as long.
 */
function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(() => {
    const now = performance.now();
    if (now - endedAt > IDLE_MILLISECONDS) restedAt = now;
    if (now - restedAt < SLICE_MILLISECONDS) serve();
    else setTimeout(goOn, 0);
  });
}

function goOn(): void {
  restedAt = performance.now();
  serve();
}

function serve(): void {
  isScheduled = false;
  const next = waiting.shift();
  // Before what is scheduled from here on: a slice may take longer than its owner meant.
  setImmediate(() => endedAt = performance.now());
  next?.();
  if (waiting.length > 0) schedule();
}
