/** Messages of one subscription that wait until its retained messages have been sent. */
import { type Message, payloadSize } from "../../core/message.ts";
import type { OutboxLimits } from "../../core/outbox.ts";

export class HeldMessages {
  readonly #limits: OutboxLimits;
  readonly #messages = new Set<Message>();
  /** Those that were retained before the subscription was made. */
  readonly #retained = new Set<Message>();
  #bytes = 0;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#messages.size;
  }

  has(message: Message): boolean {
    return this.#messages.has(message);
  }

  /** Keeps messages. Returns false if there are too many. */
  add(messages: readonly Message[]): boolean {
    for (const message of messages) {
      this.#messages.add(message);
      this.#bytes += payloadSize(message.payload);
    }
    return this.#messages.size <= this.#limits.messages && this.#bytes <= this.#limits.bytes;
  }

  /** Keeps messages that were retained before the subscription was made. Returns false if there are too many. */
  addRetained(messages: readonly Message[]): boolean {
    for (const message of messages) this.#retained.add(message);
    return this.add(messages);
  }

  /** Whether one was retained before the subscription was made. */
  isRetained(message: Message): boolean {
    return this.#retained.has(message);
  }

  /** The oldest ones, which are kept no more. */
  take(count: number): readonly Message[] {
    const taken = this.#messages.values().take(count).toArray();
    for (const message of taken) this.#drop(message);
    return taken;
  }

  /** Drops what was removed meanwhile. */
  takeBack(isTakenBack: (message: Message) => boolean): void {
    for (const message of this.#messages) if (isTakenBack(message)) this.#drop(message);
  }

  #drop(message: Message): void {
    this.#messages.delete(message);
    this.#bytes -= payloadSize(message.payload);
  }
}
