/** The bus as a worker thread sees it: the thread of the engine passes messages on, to other workers and other nodes. */
import { type Bus, PROCESS_TOPICS } from "../../core/cluster/bus.ts";
import type { Ask } from "./wire.ts";

export class WorkerBus implements Bus {
  readonly #send: (ask: Ask) => void;
  readonly #listeners = new Map<string, Set<(bytes: Uint8Array) => void>>();
  #state: Pick<Bus, "connected" | "maxBytes" | "isLocal"> = { connected: false, maxBytes: 0, isLocal: true };

  /** @param send sends to the thread of the engine, in order */
  constructor(send: (ask: Ask) => void) {
    this.#send = send;
  }

  get connected(): boolean {
    return this.#state.connected;
  }

  get maxBytes(): number {
    return this.#state.maxBytes;
  }

  get isLocal(): boolean {
    return this.#state.isLocal;
  }

  publish(topic: string, bytes: Uint8Array): void {
    const isReached = topic.startsWith(PROCESS_TOPICS) ||
      (this.connected && bytes.byteLength <= this.maxBytes);
    if (isReached) this.#send(["publish", topic, bytes]);
  }

  subscribe(topic: string, onMessage: (bytes: Uint8Array) => void): () => void {
    let listeners = this.#listeners.get(topic);
    if (listeners === undefined) {
      this.#listeners.set(topic, listeners = new Set());
      this.#send(["subscribe", topic]);
    }
    // An own function: the same one may be given twice.
    const listener = (bytes: Uint8Array) => onMessage(bytes);
    listeners.add(listener);
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      this.#listeners.delete(topic);
      this.#send(["unsubscribe", topic]);
    };
  }

  /** Takes a message from another thread. */
  receive(topic: string, bytes: Uint8Array): void {
    for (const listener of this.#listeners.get(topic) ?? []) listener(bytes);
  }

  /** Notes what the thread of the engine says of the bus. */
  update(state: Pick<Bus, "connected" | "maxBytes" | "isLocal">): void {
    this.#state = state;
  }
}
