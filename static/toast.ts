/** Says in passing that something was done. The channel page shows it. */

const SHOWN_MS = 4_000;

export class Toast {
  readonly #element: HTMLElement;
  #timer = 0;

  /** @param element a status region, which screen readers read */
  constructor(element: HTMLElement) {
    this.#element = element;
  }

  show(text: string): void {
    clearTimeout(this.#timer);
    this.#element.textContent = text;
    this.#timer = setTimeout(() => this.#element.textContent = "", SHOWN_MS);
  }
}
