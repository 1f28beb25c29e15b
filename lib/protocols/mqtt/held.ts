/** Messages of one subscription that wait until its retained messages have been sent. */
import { type Message, payloadSize } from "../../core/message.ts";
import type { OutboxLimits } from "../../core/outbox.ts";

export class HeldMessages {
  /** Retained messages that are to be sent before: in the order in which they were found, without those taken back. */
  readonly found: Message[] = [];
  readonly #limits: OutboxLimits;
  readonly #messages = new Set<Message>();
  /** Those that were retained before the subscription was made. */
  readonly #retained = new Set<Message>();
  /** What was held so far: among what was found may be copies of that, read from the engine. */
  readonly #places = new Set<string>();
  #bytes = 0;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#messages.size;
  }

  /** The next of those that were found, without what is held: that comes live. */
  takeFound(count: number): readonly Message[] {
    return this.found.splice(0, count).filter((message) => !this.#places.has(placeOf(message)));
  }

  /** Keeps messages. Returns false if there are too many. */
  add(messages: readonly Message[]): boolean {
    for (const message of messages) {
      this.#messages.add(message);
      this.#places.add(placeOf(message));
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
    // In place, as more may be found.
    for (let i = this.found.length - 1; i >= 0; i--) if (isTakenBack(this.found[i]!)) this.found.splice(i, 1);
  }

  #drop(message: Message): void {
    this.#messages.delete(message);
    this.#bytes -= payloadSize(message.payload);
  }
}

/** Where a message was stored. The time tells those apart that were not. */
function placeOf({ channel, epoch, sequence, time }: Message): string {
  return `${epoch} ${sequence} ${time} ${channel}`;
}
