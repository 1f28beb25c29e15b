/**
 * What comes to a channel while a WebSocket on it is being opened. The runtime may answer the handshake before it tells
 * that the socket is open: a client that publishes at once, on another connection, would miss its own first messages.
 */
import { matchesSelector, type Selector } from "../../core/channel.ts";
import type { Hub } from "../../core/hub.ts";
import type { Message } from "../../core/message.ts";
import { LiveBuffer } from "../../core/replay.ts";

/**
 * Collects messages from now on. Disposing it ends that; to be done after the subscription is made, which misses nothing
 * then.
 */
export class EarlyMessages implements Disposable {
  readonly #ignore: () => void;
  readonly #stop: () => void;
  readonly #buffer = new LiveBuffer();

  constructor(hub: Pick<Hub, "observe" | "watch" | "top">, selector: Selector) {
    this.#ignore = hub.watch(selector);
    // Of what other threads stored before, some may be on its way still, and the rest has not been told.
    const { epoch, sequence: top } = hub.top;
    const isNew = (message: Message) =>
      message.sequence === 0 || message.sequence > top || message.epoch !== epoch;
    this.#stop = hub.observe((messages) => {
      this.#buffer.add(
        messages.filter((message) =>
          message.to === undefined && matchesSelector(selector, message.channel) && isNew(message)
        ),
      );
    }, "delivered");
  }

  /** What came, the oldest first; undefined if it was too much. */
  get messages(): readonly Message[] | undefined {
    return this.#buffer.release(0);
  }

  [Symbol.dispose](): void {
    this.#ignore();
    this.#stop();
  }
}
