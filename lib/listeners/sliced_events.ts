/**
 * Hands over what WebSockets have read in slices. The runtime hands over all frames of all sockets that have arrived in
 * one turn of the event loop: handled at once, thousands of small frames would hold up everybody else.
 */
import { Fifo } from "../base/fifo.ts";
import { isReadingOver, SliceClock } from "../base/slices.ts";

/** Characters or bytes of frames that may wait. Beyond that they are handled at once: reading them cannot be paused. */
const MAX_WAITING = 16 * 1024 * 1024;
/** What a frame takes in memory beside its data, so that empty ones count, too. */
const FRAME_OVERHEAD = 128;

/** The events that wait, of all sockets: a slice goes to as many of them as it has time for. */
const waiting = new Fifo<() => void>();
let waitingSize = 0;
let isHandling = false;

/** The events of one socket, which are handled in their order. */
export class SlicedEvents {
  readonly #handle: (event: Event) => void;
  /** How many of them wait. */
  #waiting = 0;

  /** @param handle must not throw */
  constructor(handle: (event: Event) => void) {
    this.#handle = handle;
  }

  /** Handles an event: now, or in a slice if reading has taken long in this turn or earlier events wait. */
  add(event: Event): void {
    if (this.#waiting === 0 && (event.type !== "message" || !isReadingOver())) return this.#handle(event);
    this.#waiting++;
    const size = measure(event);
    waitingSize += size;
    waiting.push(() => {
      this.#waiting--;
      waitingSize -= size;
      this.#handle(event);
    });
    while (waitingSize > MAX_WAITING) waiting.shift()?.();
    if (!isHandling) void handleWaiting();
  }
}

async function handleWaiting(): Promise<void> {
  isHandling = true;
  try {
    const clock = new SliceClock();
    await clock.next();
    for (let next; (next = waiting.shift()) !== undefined;) {
      next();
      if (clock.isOver) await clock.next();
    }
  } finally {
    isHandling = false;
  }
}

function measure(event: Event): number {
  if (!(event instanceof MessageEvent)) return 0;
  const data: string | ArrayBuffer = event.data;
  return FRAME_OVERHEAD + (typeof data === "string" ? data.length : data.byteLength);
}
