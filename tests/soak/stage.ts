/** What the actors of the soak share: the server's port, the ledger, the end of the play, and what is counted. */
import type { Ledger } from "./ledger.ts";
import { Random } from "./random.ts";

/** How often something happened. */
export interface Counts {
  connects: number;
  /** Connections that went on where their reader had been. */
  resumes: number;
  /** Connections that went away without a word. */
  vanished: number;
  /** Readers that stopped reading for a while, and those of them that the server cut off for it. */
  stalls: number;
  cuts: number;
  /** Requests that were given up in the middle, or before their answer. */
  abandoned: number;
}

/** How long anything may take that should be a matter of moments, in milliseconds: a busy machine is no fault. */
const PATIENCE = 30_000;

export class Stage {
  readonly port: number;
  readonly ledger: Ledger;
  readonly seed: number;
  /** Whether waits may be long: only a long run has the time for them. */
  readonly isLong: boolean;
  readonly counts: Counts = { connects: 0, resumes: 0, vanished: 0, stalls: 0, cuts: 0, abandoned: 0 };
  readonly #stop = new AbortController();

  constructor(options: { port: number; ledger: Ledger; seed: number; isLong: boolean }) {
    this.port = options.port;
    this.ledger = options.ledger;
    this.seed = options.seed;
    this.isLong = options.isLong;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** True when publishers are to end, and readers to stay and read. */
  get stopping(): boolean {
    return this.#stop.signal.aborted;
  }

  stop(): void {
    this.#stop.abort();
  }

  createRandom(actor: string): Random {
    return new Random(this.seed, actor);
  }

  /** Waits, but not beyond the end of the play. */
  pause(milliseconds: number): Promise<void> {
    if (this.stopping) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#stop.signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.#stop.signal.addEventListener("abort", done);
    });
  }

  /** Waits until something holds; it is a fault if it takes too long. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + PATIENCE;
    while (!await holds()) {
      if (performance.now() > deadline) return this.ledger.fault(`Waited in vain until ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
