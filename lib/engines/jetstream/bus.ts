/** What nodes say to each other on the connection of the JetStream engine: plain NATS messages, which nobody stores. */
import type { NatsConnection, Subscription } from "@nats-io/transport-node";
import type { Bus } from "../../core/cluster/bus.ts";

/** Until the first connection is there. */
const DEFAULT_MAX_BYTES = 1024 * 1024;

interface Listener {
  readonly topic: string;
  readonly onMessage: (bytes: Uint8Array) => void;
  subscription: Subscription | undefined;
}

/** Outlives connections: listeners are carried over from one to the next. */
export class JetStreamBus implements Bus {
  readonly #prefix: string;
  readonly #listeners = new Set<Listener>();
  #connection: NatsConnection | undefined;
  #connected = false;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  get connected(): boolean {
    return this.#connected;
  }

  get maxBytes(): number {
    return this.#connection?.info?.max_payload ?? DEFAULT_MAX_BYTES;
  }

  publish(topic: string, bytes: Uint8Array): void {
    if (!this.#connected || this.#connection === undefined || this.#connection.isClosed()) return;
    if (bytes.byteLength <= this.maxBytes) this.#connection.publish(this.#prefix + topic, bytes);
  }

  subscribe(topic: string, onMessage: (bytes: Uint8Array) => void): () => void {
    const listener: Listener = { topic, onMessage, subscription: undefined };
    this.#listeners.add(listener);
    this.#listen(listener);
    return () => {
      this.#listeners.delete(listener);
      listener.subscription?.unsubscribe();
    };
  }

  /** Moves to a connection, or learns that there is none at present. */
  use(connection: NatsConnection | undefined, connected: boolean): void {
    this.#connected = connected;
    if (connection === this.#connection) return;
    this.#connection = connection;
    for (const listener of this.#listeners) this.#listen(listener);
  }

  #listen(listener: Listener): void {
    listener.subscription = this.#connection?.subscribe(this.#prefix + listener.topic, {
      callback: (error, { data }) => {
        if (error === null) listener.onMessage(data);
      },
    });
  }
}
