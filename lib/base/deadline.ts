/** A timer for a time however far away. Sessions wait for the expiry of tokens with it. */

/** Longest delay of a timer in the runtime; a longer one would fire at once. */
const LONGEST_WAIT_MILLISECONDS = 2 ** 31 - 1;

/** Runs a task once, at a given time. Setting it again replaces the time and the task. */
export class Deadline {
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param moment in milliseconds since 1970; the task runs at once if it has passed */
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
