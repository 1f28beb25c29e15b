/** A pause that somebody else may end, as when there is something to do. For one that waits at a time. */
export class Pause {
  #end: () => void = () => {};

  /**
   * Resolves after a while, or when it is ended.
   *
   * @param milliseconds at most 2^31 - 1, or `Infinity` for until it is ended
   */
  async wait(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = milliseconds === Infinity ? undefined : setTimeout(resolve, milliseconds);
      this.#end = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#end = () => {};
  }

  /** Ends the pause; does nothing while nobody waits. */
  end(): void {
    this.#end();
  }
}
