/**
 * Webhooks in a protocol's own form, such as Pusher's. The protocol provides facts (its present state), events, and how
 * both are encoded and signed; `lib/hooks` sends them from one of the nodes and threads that share an engine.
 */
import type { EventQueue } from "./event_queue.ts";

/** One target of a protocol's own webhooks. */
export interface ProtocolWebhook {
  /** Names it in logs and in the engine: 1 to 60 characters of A-Z a-z 0-9 _ -, the same after a restart. */
  readonly name: string;
  readonly url: URL;
  /** The setting that names the URL, for what is said of it. */
  readonly setting: string;
  /** Seconds that the target has to answer. */
  readonly timeout: number;
  /** The names of its events and of the channels it is about, for operators. */
  readonly events: readonly string[];
  readonly channels: readonly string[];
  readonly facts: Facts;
  /** What has happened and is no fact, such as a client's event. */
  readonly happened: EventQueue;
  /**
   * The body of a request.
   *
   * @param events JSON texts
   */
  encode(events: readonly string[]): string;
  /** The headers that sign a body. */
  sign(body: Uint8Array<ArrayBuffer>): Readonly<Record<string, string>>;
}

/**
 * The present state as values by key, such as which channels are occupied, and the events that report its changes: the
 * sender compares it with the state that it has reported last. A key that begins with another key is of something
 * inside that one, such as a member of a channel: it is reported after it when both appear, and before it when both
 * disappear.
 */
export interface Facts {
  /** The keys of all facts. */
  keys(): Iterable<string>;
  /** The value of a fact; undefined where there is none. */
  find(key: string): string | undefined;
  /** The events, as JSON texts, that tell a target of a change between two values; undefined stands for no value. */
  describe(key: string, before: string | undefined, after: string | undefined): readonly string[];
  /**
   * Begins to look, and calls back with the key of each fact that changes from now on. To be called once, before the
   * other methods.
   *
   * @returns ends that
   */
  watch(onChange: (key: string) => void): () => void;
}
