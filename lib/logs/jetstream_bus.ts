/**
 * The bus of the JetStream engine: what nodes say to each other goes over core NATS, on the connection the messages
 * come by. Nothing of it is stored.
 */
import type { Bus } from "../core/bus.ts";

/** Largest message while no server has said what it takes: NATS's default. */
const DEFAULT_MAX_BYTES = 1024 * 1024;
/** What a message carries beside its bytes, at most. */
const MARGIN_BYTES = 1024;

/** What is asked of a connection of the NATS client. */
export interface CoreNats {
  readonly info?: { readonly max_payload: number } | undefined;
  publish(subject: string, payload: Uint8Array): void;
  subscribe(
    subject: string,
    options: { callback(error: Error | null, message: { readonly data: Uint8Array }): void },
  ): { unsubscribe(): void };
  /** Tells of `disconnect` and `reconnect`; ends with the connection. */
  status(): AsyncIterable<{ readonly type: string }>;
}

type Listener = (bytes: Uint8Array) => void;

export class JetStreamBus implements Bus {
  readonly #prefix: string;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #subscriptions = new Map<string, { unsubscribe(): void }>();
  #connection: CoreNats | undefined;
  #connected = false;

  /** @param prefix begins the subjects of all topics, its last dot included; none of a stream's */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  get connected(): boolean {
    return this.#connected;
  }

  get maxBytes(): number {
    return (this.#connection?.info?.max_payload ?? DEFAULT_MAX_BYTES) - MARGIN_BYTES;
  }

  /** Goes by a connection from now on. */
  attach(connection: CoreNats): void {
    this.#connection = connection;
    this.#connected = true;
    this.#subscriptions.clear();
    for (const topic of this.#listeners.keys()) this.#open(connection, topic);
    void this.#follow(connection);
  }

  publish(topic: string, bytes: Uint8Array): void {
    if (this.#connected) this.#connection?.publish(this.#toSubject(topic), bytes);
  }

  subscribe(topic: string, onMessage: Listener): () => void {
    let listeners = this.#listeners.get(topic);
    if (listeners === undefined) {
      this.#listeners.set(topic, listeners = new Set());
      if (this.#connection !== undefined) this.#open(this.#connection, topic);
    }
    listeners.add(onMessage);
    return () => {
      listeners.delete(onMessage);
      if (listeners.size > 0 || this.#listeners.get(topic) !== listeners) return;
      this.#listeners.delete(topic);
      this.#subscriptions.get(topic)?.unsubscribe();
      this.#subscriptions.delete(topic);
    };
  }

  #open(connection: CoreNats, topic: string): void {
    const callback = (error: Error | null, { data }: { readonly data: Uint8Array }) => {
      if (error !== null) return;
      for (const onMessage of this.#listeners.get(topic) ?? []) onMessage(data);
    };
    this.#subscriptions.set(topic, connection.subscribe(this.#toSubject(topic), { callback }));
  }

  /** Watches whether the connection is there. */
  async #follow(connection: CoreNats): Promise<void> {
    for await (const { type } of connection.status()) {
      if (this.#connection !== connection) return;
      if (type === "disconnect") this.#connected = false;
      else if (type === "reconnect") this.#connected = true;
    }
    if (this.#connection === connection) this.#connected = false;
  }

  #toSubject(topic: string): string {
    return this.#prefix + topic;
  }
}
