/**
 * What services remember in JetStream: the last message of each subject of a small stream beside that of the messages,
 * created at the first write. Its sequence is the revision. The engine owns it.
 */
import {
  jetstream,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { LogState, StateEntry, StateItem } from "../../core/log.ts";
import type { MessagingError } from "../../core/errors.ts";

/**
 * "stream name already in use", "wrong last sequence", "message delete failed" and "sequence not found":
 * https://github.com/nats-io/nats-server/blob/main/server/errors.json
 */
const NAME_IN_USE = 10058;
const WRONG_LAST_SEQUENCE = 10071;
const DELETE_FAILED = 10057;
const SEQUENCE_NOT_FOUND = 10043;

/** Entries of a list that are read at once. */
const LIST_CONCURRENCY = 32;

interface ServiceStateOptions {
  /** The stream of the messages. */
  readonly stream: string;
  readonly replicas: number;
  /** The prefix of the subjects. */
  readonly prefix: string;
  /** Undefined while the server cannot be reached. */
  current(): { readonly connection: NatsConnection; readonly manager: JetStreamManager } | undefined;
  /** The error for what was attempted in vain. */
  fail(attempt: string, cause?: unknown): MessagingError;
}

export class JetStreamServiceState implements LogState {
  readonly #options: ServiceStateOptions;
  readonly #stream: string;
  /** Whether the stream was there when this node last looked. */
  #isCreated = false;

  constructor(options: ServiceStateOptions) {
    this.#options = options;
    this.#stream = `${options.stream}-state`;
  }

  async read(key: string): Promise<StateEntry | undefined> {
    const attempt = `read the state "${key}"`;
    const { manager } = this.#demand(attempt);
    try {
      const message = await manager.streams.getMessage(this.#stream, {
        last_by_subj: this.#options.prefix + key,
      });
      return message === null ? undefined : { value: message.string(), revision: message.seq };
    } catch (cause) {
      if (hasCode(cause, JetStreamApiCodes.StreamNotFound)) return undefined;
      throw this.#options.fail(attempt, cause);
    }
  }

  async write(key: string, value: string, revision: number): Promise<number | undefined> {
    const attempt = `write the state "${key}"`;
    const { connection, manager } = this.#demand(attempt);
    try {
      if (revision === 0 && !this.#isCreated) await this.#create(manager);
      const ack = await jetstream(connection).publish(this.#options.prefix + key, value, {
        expect: { lastSubjectSequence: revision },
      });
      return ack.seq;
    } catch (cause) {
      if (hasCode(cause, WRONG_LAST_SEQUENCE)) return undefined;
      // The stream may be gone.
      this.#isCreated = false;
      throw this.#options.fail(attempt, cause);
    }
  }

  async delete(key: string, revision: number): Promise<boolean> {
    const attempt = `remove the state "${key}"`;
    const { manager } = this.#demand(attempt);
    if (revision === 0) return false;
    try {
      // A newer value has replaced the message of this sequence.
      return await manager.streams.deleteMessage(this.#stream, revision, false);
    } catch (cause) {
      if (hasCode(cause, JetStreamApiCodes.StreamNotFound)) return false;
      // Two at a time, of which the other was faster.
      if (hasCode(cause, SEQUENCE_NOT_FOUND)) return false;
      // Usually because it is not there.
      if (hasCode(cause, DELETE_FAILED) && (await this.read(key))?.revision !== revision) return false;
      throw this.#options.fail(attempt, cause);
    }
  }

  async *list(prefix: string): AsyncIterable<StateItem> {
    const keys = await this.#listKeys(prefix);
    for (let i = 0; i < keys.length; i += LIST_CONCURRENCY) {
      const page = keys.slice(i, i + LIST_CONCURRENCY);
      const entries = await Promise.all(page.map(async (key) => ({ key, entry: await this.read(key) })));
      for (const { key, entry } of entries) if (entry !== undefined) yield { key, ...entry };
    }
  }

  async #listKeys(prefix: string): Promise<string[]> {
    const attempt = `list the state "${prefix}..."`;
    const { manager } = this.#demand(attempt);
    const subjects = this.#options.prefix;
    try {
      const { state } = await manager.streams.info(this.#stream, { subjects_filter: `${subjects}>` });
      return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(subjects.length))
        .filter((key) => key.startsWith(prefix));
    } catch (cause) {
      if (hasCode(cause, JetStreamApiCodes.StreamNotFound)) return [];
      throw this.#options.fail(attempt, cause);
    }
  }

  /** Does nothing where it exists already. */
  async #create(manager: JetStreamManager): Promise<void> {
    try {
      await manager.streams.add({
        name: this.#stream,
        description: "What Raindrops remembers beside its messages",
        subjects: [`${this.#options.prefix}>`],
        storage: StorageType.File,
        num_replicas: this.#options.replicas,
        retention: RetentionPolicy.Limits,
        max_msgs_per_subject: 1,
      });
    } catch (error) {
      // Created with other settings, which stay.
      if (!hasCode(error, NAME_IN_USE)) throw error;
    }
    this.#isCreated = true;
  }

  #demand(attempt: string) {
    const current = this.#options.current();
    if (current === undefined) throw this.#options.fail(attempt);
    return current;
  }
}

function hasCode(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}
