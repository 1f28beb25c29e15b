/** The cluster's bus over the JetStream engine's connection: plain NATS messages, which are not stored. */
import type { NatsConnection, Subscription } from "@nats-io/transport-node";
import type { Bus } from "../../core/cluster/bus.ts";

/** Assumed until the first connection. */
const DEFAULT_MAX_BYTES = 1024 * 1024;

interface Listener {
  readonly topic: string;
  readonly onMessage: (bytes: Uint8Array) => void;
  subscription: Subscription | undefined;
}

/** Survives reconnecting: listeners move from one connection to the next. */
export class JetStreamBus implements Bus {
  readonly isLocal = false;
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

  /** Switches to a connection, and notes whether it is usable at present. */
  attach(connection: NatsConnection | undefined, connected: boolean): void {
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
