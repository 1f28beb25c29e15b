/** Pings a client at intervals and reports missing answers. For protocols whose pings are messages. */

interface HeartbeatOptions {
  /** Seconds between pings. */
  readonly interval: number;
  /** Seconds in which a ping must be answered; undefined if no answer is expected. */
  readonly timeout: number | undefined;
  ping(): void;
  /** Called when a ping was not answered in time. */
  onSilence(): void;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #pingTimer: ReturnType<typeof setTimeout> | undefined;
  #answerTimer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  /** Starts pinging. The first ping comes after half an interval to a whole one. */
  constructor(options: HeartbeatOptions) {
    this.#options = options;
    // Spread over time, so that clients that reconnected together are not pinged together.
    this.#pingTimer = setTimeout(() => this.#beat(), options.interval * 1_000 * (0.5 + Math.random() / 2));
  }

  /** Takes the answer to a ping. Returns false if no ping was unanswered. */
  answer(): boolean {
    if (this.#answerTimer === undefined) return false;
    clearTimeout(this.#answerTimer);
    this.#answerTimer = undefined;
    return true;
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#pingTimer);
    clearTimeout(this.#answerTimer);
  }

  #beat(): void {
    const { interval, timeout, ping, onSilence } = this.#options;
    ping();
    if (this.#stopped) return;
    this.#pingTimer = setTimeout(() => this.#beat(), interval * 1_000);
    if (timeout !== undefined) this.#answerTimer ??= setTimeout(onSilence, timeout * 1_000);
  }
}
