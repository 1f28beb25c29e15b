/** Tells screen readers what came in, a few words at a time however much it is. Conversations use it. */

const PAUSE_MS = 1_000;
const MAX_SPOKEN = 3;
const MAX_LENGTH = 200;

export class Announcer {
  readonly #region: HTMLElement;
  #waiting: string[] = [];
  #timer: number | undefined;

  /** @param region a live region nobody sees */
  constructor(region: HTMLElement) {
    this.#region = region;
  }

  say(text: string): void {
    this.#waiting.push(text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text);
    this.#timer ??= setTimeout(() => this.#speak(), PAUSE_MS);
  }

  #speak(): void {
    this.#timer = undefined;
    const lines = this.#waiting.length > MAX_SPOKEN
      ? [`${this.#waiting.length} new messages`]
      : this.#waiting;
    this.#region.replaceChildren(...lines.map((line) => {
      const item = document.createElement("p");
      item.textContent = line;
      return item;
    }));
    this.#waiting = [];
  }
}
