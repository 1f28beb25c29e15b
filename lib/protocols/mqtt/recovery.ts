/**
 * Takes up what servers left that ended: runs the scans of sessions and wills after the start, and whenever another
 * node is gone. Every minute, removes sessions that have expired, and settles wills that could not be before. The
 * protocol owns it.
 */
import { describeReason } from "../../base/reason.ts";
import { type Cluster, HEARTBEAT_MILLISECONDS, SILENCE_MILLISECONDS } from "../../core/cluster/cluster.ts";
import type { Logger } from "../../core/logger.ts";
import type { SessionStore } from "./session_store.ts";
import type { Wills } from "./wills.ts";

/** Between two attempts while the engine cannot be reached. */
const RETRY_MILLISECONDS = 1_000;
const SWEEP_MILLISECONDS = 60_000;

export interface RecoveryOptions {
  readonly store: SessionStore;
  readonly wills: Wills;
  readonly cluster: Cluster | undefined;
  readonly logger: Logger;
}

export class Recovery implements AsyncDisposable {
  readonly #options: RecoveryOptions;
  readonly #timers: ReturnType<typeof setTimeout>[] = [];
  #retry: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void>;
  #peers: ReadonlySet<string> = new Set();
  #closed = false;

  constructor(options: RecoveryOptions) {
    this.#options = options;
    const { cluster, store } = options;
    this.#timers.push(setInterval(() => this.#start(() => this.#sweep()), SWEEP_MILLISECONDS));
    if (cluster === undefined) {
      this.#running = this.#scan();
      return;
    }
    this.#running = this.#attempt(() => store.scan());
    // Only after this time does a node know which others are alive.
    this.#timers.push(
      setTimeout(() => this.#start(() => this.#scan()), SILENCE_MILLISECONDS + HEARTBEAT_MILLISECONDS),
    );
    this.#timers.push(setInterval(() => this.#watch(cluster), HEARTBEAT_MILLISECONDS));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    clearTimeout(this.#retry);
    await this.#running;
  }

  #watch(cluster: Cluster): void {
    const peers = new Set(cluster.nodes().filter(({ self }) => !self).map(({ node }) => node));
    const isOneGone = [...this.#peers].some((node) => !peers.has(node));
    this.#peers = peers;
    if (isOneGone) this.#start(() => this.#scan());
  }

  #start(task: () => Promise<void>): void {
    this.#running = this.#running.then(() => this.#attempt(task));
  }

  async #sweep(): Promise<void> {
    await this.#options.wills.retry();
    await this.#options.store.removeExpired();
  }

  async #scan(): Promise<void> {
    await this.#attempt(async () => {
      await this.#options.wills.recover();
      await this.#options.store.scan();
    });
  }

  /** Runs a task; tries everything again later if it fails. */
  async #attempt(task: () => Promise<void>): Promise<void> {
    if (this.#closed) return;
    try {
      await task();
    } catch (error) {
      if (this.#closed) return;
      this.#options.logger.write("warn", "sessions cannot be read, trying again", {
        reason: describeReason(error),
      });
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#start(() => this.#scan()), RETRY_MILLISECONDS);
    }
  }
}
