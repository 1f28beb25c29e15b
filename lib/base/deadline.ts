/**
 * Timers for a time however far away, by the system's clock or by a duration. Sessions wait for the expiry of tokens.
 */

/** How long a deadline waits before it looks at the clock again: somebody may have set it. */
const RECHECK_MILLISECONDS = 30_000;
/** Longest delay of a timer in the runtime; a longer one would fire at once. */
const LONGEST_WAIT_MILLISECONDS = 2 ** 31 - 1;

/** What a deadline tells the time by. */
export interface DeadlineClock {
  /** The system's clock, in milliseconds since 1970. */
  now(): number;
  setTimer(task: () => void, milliseconds: number): number;
  clearTimer(timer: number | undefined): void;
}

const SYSTEM: DeadlineClock = {
  now: () => Date.now(),
  setTimer: (task, milliseconds) => Number(setTimeout(task, milliseconds)),
  clearTimer: (timer) => clearTimeout(timer),
};

/** Runs a task once, at a given time. Setting it again replaces the time and the task. */
export class Deadline {
  readonly #clock: DeadlineClock;
  #timer: number | undefined;

  constructor(clock: DeadlineClock = SYSTEM) {
    this.#clock = clock;
  }

  /**
   * Runs the task when the system's clock has reached a moment: not before, should it be set back, and within half a
   * minute after it was set ahead.
   *
   * @param moment in milliseconds since 1970; the task runs at once if it has passed
   */
  set(moment: number, task: () => void): void {
    const wait = moment - this.#clock.now();
    if (wait > 0) this.#wait(Math.min(wait, RECHECK_MILLISECONDS), () => this.set(moment, task));
    else this.#wait(0, task);
  }

  /** Runs the task when so much time has passed, whatever somebody sets the clock to. */
  setAfter(milliseconds: number, task: () => void): void {
    const wait = Math.min(Math.max(0, milliseconds), LONGEST_WAIT_MILLISECONDS);
    const left = milliseconds - wait;
    this.#wait(wait, left > 0 ? () => this.setAfter(left, task) : task);
  }

  clear(): void {
    this.#clock.clearTimer(this.#timer);
  }

  #wait(milliseconds: number, task: () => void): void {
    this.clear();
    this.#timer = this.#clock.setTimer(task, Math.ceil(milliseconds));
  }
}
