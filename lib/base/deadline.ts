/** A task at a moment, however far away: what expiring tokens are waited for with. */

/** Longest wait a timer of the runtime takes; beyond it, it would fire at once. */
const LONGEST_WAIT_MILLISECONDS = 2 ** 31 - 1;

/** Runs a task once, when the clock has reached a moment. Setting it anew replaces the moment and the task. */
export class Deadline {
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param moment in milliseconds since 1970; one that has passed is now */
  set(moment: number, task: () => void): void {
    clearTimeout(this.#timer);
    const wait = moment - Date.now();
    this.#timer = wait > LONGEST_WAIT_MILLISECONDS
      ? setTimeout(() => this.set(moment, task), LONGEST_WAIT_MILLISECONDS)
      : setTimeout(task, Math.max(0, wait));
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}
