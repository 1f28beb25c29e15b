/** Says in words how the connection is, and decides when to try again. Every page that holds a connection uses it. */

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const GOOD_CONNECTION_MS = 5_000;

export class ConnectionState {
  readonly #element: HTMLElement;
  readonly #retry: () => void;
  #openedAt = Infinity;
  #failures = 0;
  #nextTry = 0;
  #countdown = 0;

  /**
   * @param element where the words go
   * @param retry connects again
   */
  constructor(element: HTMLElement, retry: () => void) {
    this.#element = element;
    this.#retry = retry;
    addEventListener("online", () => this.#nextTry > 0 && this.#try());
  }

  get isWaiting(): boolean {
    return this.#nextTry > 0;
  }

  connecting(): void {
    this.#stopCountdown();
    this.#show("connecting", "Connecting…");
  }

  live(): void {
    this.#stopCountdown();
    this.#openedAt = Date.now();
    this.#show("open", "Live");
  }

  /** Counts the seconds until the next try, which it begins. */
  lost(reason: string): void {
    this.#stopCountdown();
    // Only a connection that lasted resets the pauses: a server that accepts and hangs up is not hammered.
    if (Date.now() - this.#openedAt > GOOD_CONNECTION_MS) this.#failures = 0;
    this.#openedAt = Infinity;
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++);
    // Jitter: a thousand pages that lost the same server must not all come back in the same instant.
    this.#nextTry = Date.now() + longest * (0.5 + Math.random() / 2);
    const words = navigator.onLine
      ? `Disconnected${reason && `: ${reason}`}. `
      : "Disconnected: you are offline. ";
    const tick = () => {
      const seconds = Math.ceil((this.#nextTry - Date.now()) / 1000);
      if (seconds <= 0) this.#try();
      else this.#show("waiting", words, `Next try in ${seconds} s.`);
    };
    tick();
    this.#countdown = setInterval(tick, 250);
  }

  /** Nothing is tried any more. */
  ended(words: string): void {
    this.#stopCountdown();
    this.#show("ended", words);
  }

  #try(): void {
    this.connecting();
    this.#retry();
  }

  #stopCountdown(): void {
    clearInterval(this.#countdown);
    this.#nextTry = 0;
  }

  #show(kind: "connecting" | "open" | "waiting" | "ended", words: string, countdown = ""): void {
    if (this.#element.textContent === words + countdown) return;
    const seconds = document.createElement("span");
    // A screen reader announces the loss once, not every second of the countdown.
    seconds.ariaHidden = "true";
    seconds.textContent = countdown;
    this.#element.dataset.state = kind;
    this.#element.replaceChildren(words, seconds);
  }
}
