/**
 * What operators tell a webhook: to pause, and to send again from a position. It is kept in the engine, so that it holds
 * across restarts and on whichever node sends; each node reads it every second.
 */
import { sleep } from "../base/sleep.ts";
import { MessagingError } from "../core/errors.ts";
import type { LogState } from "../core/log.ts";

/** A position in the engine; what comes after it is sent. */
export interface ResendFrom {
  readonly epoch: string;
  readonly sequence: number;
}

export interface Control {
  readonly paused: boolean;
  /** How often it was told to send again. Requests of a later run have other ids, as targets drop repeated ones. */
  readonly run: number;
  /** Where this run began; undefined in the first. */
  readonly from?: ResendFrom | undefined;
}

const CHECK_MILLISECONDS = 1_000;
const NOTHING_SAID: Control = { paused: false, run: 0 };

export class WebhookControl {
  readonly #key: string;
  readonly #state: LogState;
  readonly #signal: AbortSignal;
  readonly #listeners = new Set<() => void>();
  #current: Control = NOTHING_SAID;

  constructor({ key, state, signal }: { key: string; state: LogState; signal: AbortSignal }) {
    this.#key = `${key}-control`;
    this.#state = state;
    this.#signal = signal;
  }

  /** As last read. */
  get current(): Control {
    return this.#current;
  }

  /** Calls back after each change. */
  listen(onChange: () => void): void {
    this.#listeners.add(onChange);
  }

  /** @throws {MessagingError} what the engine rejects with */
  async refresh(): Promise<Control> {
    const entry = await this.#state.read(this.#key);
    this.#take(entry === undefined ? NOTHING_SAID : parseControl(entry.value));
    return this.#current;
  }

  /**
   * Changes it for all nodes.
   *
   * @throws {MessagingError} what the engine rejects with
   */
  async change(update: (control: Control) => Control): Promise<void> {
    while (true) {
      const entry = await this.#state.read(this.#key);
      const changed = update(entry === undefined ? NOTHING_SAID : parseControl(entry.value));
      const revision = await this.#state.write(this.#key, JSON.stringify(changed), entry?.revision ?? 0);
      if (revision !== undefined) return this.#take(changed);
    }
  }

  /** Reads it every second until the server stops; never rejects. What uses the engine says when that fails. */
  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      await sleep(CHECK_MILLISECONDS, this.#signal);
      if (!this.#signal.aborted) await this.refresh().catch(() => {});
    }
  }

  #take(control: Control): void {
    const { paused, run } = this.#current;
    this.#current = control;
    if (control.paused === paused && control.run === run) return;
    for (const notify of this.#listeners) notify();
  }
}

function parseControl(text: string): Control {
  const { paused = false, run = 0, from } = JSON.parse(text) as Partial<Control>;
  return from === undefined ? { paused, run } : { paused, run, from };
}

/** The error for a webhook that is not in the configuration. */
export function describeUnknown(name: string, names: readonly string[]): MessagingError {
  return new MessagingError(
    "not_found",
    `There is no webhook called ${JSON.stringify(name)}: there are ${names.join(", ") || "none"}`,
  );
}
