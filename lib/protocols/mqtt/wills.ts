/** Wills that wait for their delay (MQTT 5.0 section 3.1.3.2.2), by client id. */
import { Deadline } from "../../base/deadline.ts";

export class Wills {
  readonly #waiting = new Map<string, Deadline>();

  /** Publishes a will after a delay, unless the client returns before. */
  schedule(clientId: string, seconds: number, publish: () => void): void {
    this.cancel(clientId);
    if (seconds === 0) return publish();
    const deadline = new Deadline();
    this.#waiting.set(clientId, deadline);
    deadline.set(Date.now() + seconds * 1_000, () => {
      this.#waiting.delete(clientId);
      publish();
    });
  }

  /** The client is back: its will is not published. */
  cancel(clientId: string): void {
    this.#waiting.get(clientId)?.clear();
    this.#waiting.delete(clientId);
  }

  [Symbol.dispose](): void {
    for (const deadline of this.#waiting.values()) deadline.clear();
    this.#waiting.clear();
  }
}
