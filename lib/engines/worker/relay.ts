/**
 * The bus of one process: passes messages on between the threads that subscribed to a topic. Where the engine spans
 * machines, all that is not for this process alone goes by its bus instead, which brings it back to this process too.
 */
import { type Bus, PROCESS_TOPICS } from "../../core/cluster/bus.ts";

interface Topic {
  readonly listeners: Set<(bytes: Uint8Array) => void>;
  /** Ends the subscription on the engine's bus. */
  readonly stop: () => void;
}

export class Relay implements Bus {
  readonly #outer: Bus | undefined;
  readonly #topics = new Map<string, Topic>();

  /** @param outer the bus of the engine, if it has one */
  constructor(outer: Bus | undefined) {
    this.#outer = outer;
  }

  get isLocal(): boolean {
    return this.#outer === undefined;
  }

  get connected(): boolean {
    return this.#outer?.connected ?? true;
  }

  get maxBytes(): number {
    return this.#outer?.maxBytes ?? Infinity;
  }

  publish(topic: string, bytes: Uint8Array): void {
    if (this.#outer !== undefined && !topic.startsWith(PROCESS_TOPICS)) this.#outer.publish(topic, bytes);
    else this.#deliver(topic, bytes);
  }

  subscribe(topic: string, onMessage: (bytes: Uint8Array) => void): () => void {
    const known = this.#topics.get(topic) ?? this.#open(topic);
    const listener = (bytes: Uint8Array) => onMessage(bytes);
    known.listeners.add(listener);
    return () => {
      if (!known.listeners.delete(listener) || known.listeners.size > 0) return;
      this.#topics.delete(topic);
      known.stop();
    };
  }

  #open(topic: string): Topic {
    const outer = topic.startsWith(PROCESS_TOPICS) ? undefined : this.#outer;
    const stop = outer?.subscribe(topic, (bytes) => this.#deliver(topic, bytes)) ?? (() => {});
    const opened: Topic = { listeners: new Set(), stop };
    this.#topics.set(topic, opened);
    return opened;
  }

  #deliver(topic: string, bytes: Uint8Array): void {
    for (const listener of this.#topics.get(topic)?.listeners ?? []) listener(bytes);
  }
}
