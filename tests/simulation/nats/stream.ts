/** The stream of the simulated JetStream: what it stores, under which sequence, and what it has seen before. */
import { matchesSubject, type NatsMessage, readField } from "./connection.ts";

export interface StreamConfig {
  readonly name: string;
  readonly subjects: readonly string[];
  /** Nanoseconds. */
  readonly duplicate_window: number;
}

export interface StoredMessage {
  readonly seq: number;
  /** When it was stored, in milliseconds since the simulation began. */
  readonly at: number;
  readonly subject: string;
  readonly header: Uint8Array;
  readonly data: Uint8Array;
}

/** One server's copy of the stream, which may be behind. */
export interface Copy {
  /** The newest sequence it knows; infinite while it is up to date. */
  last: number;
  /** The configuration it knows. */
  readonly config?: StreamConfig | undefined;
  /** How long ago its server heard of the others, in milliseconds. */
  heard?(): number;
}

const NANOSECONDS_PER_MILLISECOND = 1_000_000;

export class SimulatedStream {
  config: StreamConfig;
  readonly #messages = new Map<number, StoredMessage>();
  /** By the id of a message: its sequence, and when it came. */
  readonly #ids = new Map<string, { readonly seq: number; readonly at: number }>();
  readonly #patterns: readonly (readonly string[])[];
  #last = 0;

  constructor(config: StreamConfig) {
    this.config = { ...DEFAULTS, ...config };
    this.#patterns = config.subjects.map((subject) => subject.split("."));
  }

  get last(): number {
    return this.#last;
  }

  takes(subject: string): boolean {
    return this.#patterns.some((pattern) => matchesSubject(pattern, subject));
  }

  /** Whether a subject is one that nodes talk to each other on. */
  isNodes(subject: string): boolean {
    return subject.startsWith(`${this.config.name}.b.`);
  }

  store(
    { subject, header, data }: NatsMessage,
    now: number,
  ): { readonly seq: number; readonly duplicate: boolean } {
    const id = readField(header, "Nats-Msg-Id");
    const known = id === undefined ? undefined : this.#ids.get(id);
    const window = this.config.duplicate_window / NANOSECONDS_PER_MILLISECOND;
    if (known !== undefined && now - known.at < window) return { seq: known.seq, duplicate: true };
    const seq = ++this.#last;
    this.#messages.set(seq, { seq, at: now, subject, header, data });
    if (id !== undefined) this.#ids.set(id, { seq, at: now });
    return { seq, duplicate: false };
  }

  get(seq: number): StoredMessage | undefined {
    return this.#messages.get(seq);
  }

  /** The first message from a sequence on, in a copy that ends at another. */
  next(from: number, end = Infinity): StoredMessage | undefined {
    for (let seq = from; seq <= Math.min(end, this.#last); seq++) {
      const message = this.#messages.get(seq);
      if (message !== undefined) return message;
    }
    return undefined;
  }

  countFrom(from: number, end = Infinity): number {
    let count = 0;
    for (let seq = from; seq <= Math.min(end, this.#last); seq++) if (this.#messages.has(seq)) count++;
    return count;
  }

  delete(seq: number): boolean {
    return this.#messages.delete(seq);
  }

  /** Removes what matches before a sequence. @returns how many */
  purge(filter: string, before: number): number {
    const pattern = filter.split(".");
    let count = 0;
    for (const { seq, subject } of [...this.#messages.values()]) {
      if (seq >= before || !matchesSubject(pattern, subject)) continue;
      this.#messages.delete(seq);
      count++;
    }
    return count;
  }

  /** The answer to requests for its info, from a copy. */
  describe({ last: end, config = this.config, heard = () => 0 }: Copy = { last: Infinity }): unknown {
    const last = Math.min(end, this.#last);
    const [first = last + 1] = this.#messages.keys();
    return {
      type: "io.nats.jetstream.api.v1.stream_info_response",
      config,
      cluster: {
        name: "simulated",
        leader: "s1",
        replicas: ["s2", "s3"].map((name) => ({
          name,
          current: true,
          active: heard() * NANOSECONDS_PER_MILLISECOND,
        })),
      },
      created: new Date(0).toISOString(),
      state: {
        messages: this.countFrom(first, last),
        bytes: 0,
        first_seq: Math.min(first, last + 1),
        last_seq: last,
        consumer_count: 0,
      },
    };
  }
}

const DEFAULTS = { max_age: 0, max_msgs_per_subject: -1, num_replicas: 1, discard: "new" };
