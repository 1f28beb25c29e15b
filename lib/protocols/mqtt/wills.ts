/**
 * Wills (MQTT 5.0 section 3.1.2.5). The engine keeps each from CONNECT on, so that the will of a client whose server is
 * killed is published all the same: by the server once it is up again, or by one of the nodes that are left.
 */
import { describeReason } from "../../base/reason.ts";
import { Deadline } from "../../base/deadline.ts";
import { type ErrorCode, MessagingError, toMessagingError } from "../../core/errors.ts";
import type { LogState, StateEntry } from "../../core/log.ts";
import type { Logger } from "../../core/logger.ts";
import type { Draft } from "../../core/message.ts";
import { hashClientId } from "./session_store.ts";
import { readStoredPayload, type Stored, toStored } from "./stored_message.ts";

const PREFIX = "mqtt-will-";

/** A will as the client left it. */
export interface Will {
  /** Its idempotency key is its own: it is published once, whoever tries. */
  readonly draft: Draft;
  /** Seconds from the end of the connection to its publication. */
  readonly delay: number;
}

interface StoredWill {
  /** The run of the node that the client is, or was last, connected to. */
  readonly node: string;
  readonly delay: number;
  /** When it is published, in milliseconds since 1970; null while the client is connected. */
  readonly dueAt: number | null;
  readonly draft: Stored<Draft>;
}

export interface WillsOptions {
  readonly state: LogState;
  readonly logger: Logger;
  /** The run of this node. */
  readonly node: string;
  /** Whether another node is alive. */
  isAlive(node: string): boolean;
  /** Publishes; resolves when that is stored. */
  publish(draft: Draft): Promise<void>;
}

/** A will that waited for its delay, and was removed as its client came back. */
export interface RemovedWill extends Will {
  /** When it would have been published, in milliseconds since 1970. */
  readonly dueAt: number;
}

/** What became of the will of an earlier connection when its client came back. */
export interface Meeting {
  /** Whether there is none any more; false if it cannot be published now, and is kept until it can. */
  readonly isGone: boolean;
  /** What was removed and not published: `putBack` takes it if the client is not connected after all. */
  readonly removed?: RemovedWill | undefined;
}

/** The will of one connection, which is kept. Neither method throws: what fails is logged, and `retry` does it again. */
export interface ArmedWill {
  /** The client has disconnected as it should, or was not connected: its will is not published. */
  disarm(): Promise<void>;
  /**
   * The connection has ended otherwise. Resolves when the will is published, or waits for its delay.
   *
   * @param delay seconds to its publication
   */
  fire(delay: number): Promise<void>;
}

/** Does something to a will that is kept; resolves with the code of why it is to be done again, undefined if it is done. */
type Act = () => Promise<ErrorCode | undefined>;

export class Wills {
  readonly #options: WillsOptions;
  readonly #waiting = new Map<string, Deadline>();
  /** By key, what failed and is to be done again. */
  readonly #failed = new Map<string, { readonly id: string; readonly act: Act }>();
  readonly #publishing = new Set<Promise<unknown>>();
  #closed = false;

  constructor(options: WillsOptions) {
    this.#options = options;
  }

  /**
   * The client is back. A will that waits is not published if the session goes on, but at once if it has ended, or if
   * it was to be published without delay and its server was killed before. Errors like the engine.
   *
   * @param hasEnded whether the connection has ended meanwhile: then a will that is there is that of its successor
   */
  async meet(clientId: string, isResumed: boolean, hasEnded = () => false): Promise<Meeting> {
    const key = keyOf(clientId);
    await this.#retryOne(key);
    const removed: RemovedWill[] = [];
    try {
      // Until there is none: another node may take the will over meanwhile, and would publish it.
      while (!hasEnded()) {
        const entry = await this.#options.state.read(key);
        if (entry === undefined) {
          // Not before: what could not be read, removed or published is published when its delay is over.
          this.#stopWaiting(key);
          break;
        }
        const { delay, dueAt, draft: stored } = parseWill(entry);
        const draft = readDraft(stored);
        if (isResumed && delay > 0) {
          const will = { draft, delay, dueAt: dueAt ?? Date.now() + delay * 1_000 };
          if (await this.#remove(clientId, will, entry.revision)) removed.push(will);
        } else if (await this.#publish(key, draft, entry.revision) !== undefined) return { isGone: false };
      }
    } catch (error) {
      // The client is refused, so that what was removed already waits again.
      for (const will of removed) this.#remember(key, clientId, () => this.#place(key, will));
      throw error;
    }
    return { isGone: true, removed: removed.at(-1) };
  }

  /** Returns whether the will was removed; false if it has another revision by now, or is gone. */
  async #remove(clientId: string, will: RemovedWill, revision: number): Promise<boolean> {
    const key = keyOf(clientId);
    try {
      return await this.#options.state.delete(key, revision);
    } catch (error) {
      // It may be removed all the same, and its client is refused.
      this.#remember(key, clientId, () => this.#place(key, will));
      throw error;
    }
  }

  /**
   * The client is not connected after all: what `meet` removed waits again, for the time that was left. A will that is
   * there by now stays. Throws nothing: what fails is logged, and `retry` does it again.
   */
  async putBack(clientId: string, will: RemovedWill): Promise<void> {
    const key = keyOf(clientId);
    // After what may be to be done yet: forgetting the will of the connection that was not to be.
    this.#remember(key, clientId, () => this.#place(key, will));
    await this.#retryOne(key);
  }

  async #place(key: string, will: RemovedWill): Promise<ErrorCode | undefined> {
    const entry = await this.#options.state.read(key);
    if (entry !== undefined && !this.#isOwn(entry, will.draft)) return undefined;
    return await this.#fire(key, will, will.dueAt, entry?.revision ?? 0);
  }

  /**
   * Keeps the will of a client that connects. Errors like the engine; `log_unavailable`, too, if an earlier will is
   * there and cannot be published now.
   *
   * @param hasEnded whether the connection has ended meanwhile: then a will that is there is that of its successor
   * @returns undefined if it has ended, and nothing is kept
   */
  async arm(
    clientId: string,
    { draft, delay }: Will,
    hasEnded = () => false,
  ): Promise<ArmedWill | undefined> {
    const key = keyOf(clientId);
    while (!hasEnded()) {
      let revision;
      try {
        revision = await this.#write(key, { delay, dueAt: null, draft: toStored(draft) }, 0);
      } catch (error) {
        // It may be kept all the same, and its client is refused.
        this.#remember(key, clientId, () => this.#forget(key, draft));
        throw error;
      }
      if (revision !== undefined) return this.#createArmed(clientId, draft, revision);
      if (!(await this.meet(clientId, false, hasEnded)).isGone) {
        throw new MessagingError(
          "log_unavailable",
          "The will of an earlier connection cannot be published now",
        );
      }
    }
    return undefined;
  }

  #createArmed(clientId: string, draft: Draft, revision: number): ArmedWill {
    const key = keyOf(clientId);
    return {
      disarm: async () => {
        await this.#attempt(key, clientId, async () => {
          await this.#options.state.delete(key, revision);
          return undefined;
        });
      },
      fire: async (delay) => {
        const dueAt = Date.now() + delay * 1_000;
        const fire = () => this.#fire(key, { draft, delay }, dueAt, revision);
        await this.#attempt(key, clientId, fire, () => this.#fireAgain(key, { draft, delay }, dueAt));
      },
    };
  }

  async #fire(
    key: string,
    { draft, delay }: Will,
    dueAt: number,
    revision: number,
  ): Promise<ErrorCode | undefined> {
    if (delay === 0) return await this.#publish(key, draft, revision);
    const written = await this.#write(key, { delay, dueAt, draft: toStored(draft) }, revision);
    if (written !== undefined) this.#wait(key, draft, dueAt, written);
    return undefined;
  }

  /** After a failure: what was written may be kept although the answer was an error, and the client may be back. */
  async #fireAgain(key: string, { draft, delay }: Will, dueAt: number): Promise<ErrorCode | undefined> {
    const entry = await this.#options.state.read(key);
    if (entry === undefined || !this.#isOwn(entry, draft)) return undefined;
    return await this.#fire(key, { draft, delay: dueAt > Date.now() ? delay : 0 }, dueAt, entry.revision);
  }

  async #forget(key: string, draft: Draft): Promise<ErrorCode | undefined> {
    const entry = await this.#options.state.read(key);
    if (entry !== undefined && this.#isOwn(entry, draft)) {
      await this.#options.state.delete(key, entry.revision);
    }
    return undefined;
  }

  /** Whether what is kept is this will, as this node has written it. */
  #isOwn(entry: StateEntry, { idempotencyKey }: Draft): boolean {
    const { node, draft } = parseWill(entry);
    return node === this.#options.node && draft.idempotencyKey === idempotencyKey;
  }

  /**
   * Does again what failed: publishes what is due, waits for what is not, and forgets what is not to be published.
   * Throws nothing: what fails is logged, and done by the next call.
   */
  async retry(): Promise<void> {
    for (const key of [...this.#failed.keys()]) {
      if (this.#closed) return;
      const code = await this.#retryOne(key);
      // A full channel concerns its own wills alone; otherwise the next ones would fail, too.
      if (code !== undefined && code !== "log_full") return;
    }
  }

  async #retryOne(key: string): Promise<ErrorCode | undefined> {
    const failed = this.#failed.get(key);
    if (failed === undefined) return undefined;
    this.#failed.delete(key);
    return await this.#attempt(key, failed.id, failed.act);
  }

  /**
   * Takes over the wills of nodes that are gone. The delay of those whose client was connected begins now, as nobody
   * can know when the connection ended. Errors like the engine.
   */
  async recover(): Promise<void> {
    const { state, node, isAlive } = this.#options;
    for await (const item of state.list(PREFIX)) {
      const { key } = item;
      const { node: owner, delay, dueAt: due, draft } = parseWill(item);
      if (this.#closed) return;
      if (owner === node || isAlive(owner)) continue;
      const dueAt = due ?? Date.now() + delay * 1_000;
      const will = { delay, draft: readDraft(draft) };
      const takeAgain = () => this.#fireAgain(key, will, dueAt);
      let revision;
      try {
        revision = await this.#write(key, { delay, dueAt, draft }, item.revision);
      } catch (error) {
        // It may be taken over all the same, and would then be passed over as this node's.
        this.#remember(key, will.draft.channel, takeAgain);
        throw error;
      }
      // Otherwise another node was faster, or the client is back.
      if (revision === undefined) continue;
      const { channel } = will.draft;
      const publish = () => this.#publish(key, will.draft, revision);
      if (dueAt > Date.now()) this.#wait(key, will.draft, dueAt, revision);
      else await this.#attempt(key, channel, publish, takeAgain);
    }
  }

  /** Stops waiting: what waits is published after a restart. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const deadline of this.#waiting.values()) deadline.clear();
    this.#waiting.clear();
    await Promise.allSettled(this.#publishing);
  }

  #write(key: string, will: Omit<StoredWill, "node">, revision: number): Promise<number | undefined> {
    const stored: StoredWill = { node: this.#options.node, ...will };
    return this.#options.state.write(key, JSON.stringify(stored), revision);
  }

  /**
   * Publishes first: a kill in between leaves the entry, and the draft's key keeps it from being published twice.
   *
   * @returns why it is kept: the code of what may pass; undefined if it was published, or never can be
   */
  async #publish(key: string, draft: Draft, revision: number): Promise<ErrorCode | undefined> {
    const { publish, state, logger } = this.#options;
    try {
      await publish(draft);
    } catch (error) {
      const { code, message } = toMessagingError(error);
      // Section 3.1.2.5 of 3.1.1: after a shutdown, wills may be published by the next start.
      if (code === "draining") return code;
      logger.write("warn", "will not published", { channel: draft.channel, code, reason: message });
      // It may be possible later, after a restart, or on another node.
      if (code === "log_unavailable" || code === "log_full") return code;
    }
    await state.delete(key, revision);
    return undefined;
  }

  #wait(key: string, draft: Draft, dueAt: number, revision: number): void {
    if (this.#closed) return;
    this.#stopWaiting(key);
    const deadline = new Deadline();
    this.#waiting.set(key, deadline);
    // A delay is a time that passes: the clock may be set meanwhile.
    deadline.setAfter(dueAt - Date.now(), () => {
      this.#waiting.delete(key);
      const act = () => this.#publishIfKept(key, draft, revision);
      const publishing = this.#attempt(key, draft.channel, act)
        .finally(() => this.#publishing.delete(publishing));
      this.#publishing.add(publishing);
    });
  }

  /** The client may have come back to another node meanwhile, which then has removed the entry. */
  async #publishIfKept(key: string, draft: Draft, revision: number): Promise<ErrorCode | undefined> {
    const entry = await this.#options.state.read(key);
    return entry?.revision === revision ? await this.#publish(key, draft, revision) : undefined;
  }

  #stopWaiting(key: string): void {
    this.#waiting.get(key)?.clear();
    this.#waiting.delete(key);
  }

  /**
   * Acts; remembers for `retry` what failed.
   *
   * @param id for the log
   * @param again what is to be done if it fails
   */
  async #attempt(key: string, id: string, act: Act, again = act): Promise<ErrorCode | undefined> {
    let code;
    try {
      code = await act();
    } catch (error) {
      this.#options.logger.write("error", "keeping a will failed", { id, reason: describeReason(error) });
      code = toMessagingError(error).code;
    }
    if (code !== undefined) this.#remember(key, id, again);
    return code;
  }

  /** Has something done by the next `retry`, after what else of the will is to be done by then. */
  #remember(key: string, id: string, act: Act): void {
    const before = this.#failed.get(key)?.act;
    this.#failed.set(key, {
      id,
      act: before === undefined ? act : async () => await before() ?? await act(),
    });
  }
}

function keyOf(clientId: string): string {
  return PREFIX + hashClientId(clientId);
}

function parseWill({ value }: StateEntry): StoredWill {
  return JSON.parse(value) as StoredWill;
}

function readDraft({ payload, ...draft }: Stored<Draft>): Draft {
  return { ...draft, payload: readStoredPayload(payload) };
}
