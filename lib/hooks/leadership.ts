/**
 * Which of several nodes sends: the one with the smallest id among those alive. Nodes may disagree for some seconds; what
 * they write to the engine then tells them, as only one of two writers succeeds.
 */
import type { Hub } from "../core/hub.ts";
import { sleep } from "./target.ts";

/** How long a node listens for others before it may lead, and how often it looks, in milliseconds. */
const LISTENING_MILLISECONDS = 2_500;
const CHECK_MILLISECONDS = 250;

export class Leadership {
  readonly #hub: Pick<Hub, "nodes" | "identity">;
  readonly #isAlone: boolean;
  readonly #signal: AbortSignal;
  readonly #startedAt = performance.now();

  /** @param isAlone whether the engine has one node only */
  constructor(hub: Pick<Hub, "nodes" | "identity">, isAlone: boolean, signal: AbortSignal) {
    this.#hub = hub;
    this.#isAlone = isAlone;
    this.#signal = signal;
  }

  /** Whether this node sends. */
  readonly leads = (): boolean => {
    if (this.#isAlone) return true;
    if (performance.now() - this.#startedAt < LISTENING_MILLISECONDS) return false;
    const self = this.#hub.identity.node;
    return this.#hub.nodes().every(({ node }) => node >= self);
  };

  /** Resolves once this node leads, or the server stops. */
  readonly untilLeading = async (): Promise<void> => {
    while (!this.leads() && !this.#signal.aborted) await sleep(CHECK_MILLISECONDS, this.#signal);
  };
}
