/**
 * Which of several nodes does what one of them has to do, such as to send webhooks: the one with the smallest id among
 * those alive, and of a process with workers the thread of the engine. Nodes may disagree for some seconds; what they
 * write to the engine then tells them, as only one of two writers succeeds.
 */
import type { Hub } from "../hub.ts";
import type { NodeInfo } from "./cluster.ts";
import { sleep } from "../../base/sleep.ts";

/** How long a node listens for others before it may lead, and how often it looks, in milliseconds. */
const LISTENING_MILLISECONDS = 2_500;
const CHECK_MILLISECONDS = 250;

export class Leadership {
  readonly #hub: Pick<Hub, "nodes" | "identity">;
  readonly #isAlone: boolean;
  readonly #signal: AbortSignal;
  readonly #startedAt = performance.now();

  /** @param isAlone whether the engine has one process only */
  constructor(hub: Pick<Hub, "nodes" | "identity">, isAlone: boolean, signal: AbortSignal) {
    this.#hub = hub;
    this.#isAlone = isAlone;
    this.#signal = signal;
  }

  /** Whether this node is the one. */
  readonly leads = (): boolean => {
    const { node: self, process = self } = this.#hub.identity;
    if (process !== self) return false;
    if (this.#isAlone) return true;
    if (performance.now() - this.#startedAt < LISTENING_MILLISECONDS) return false;
    return this.#hub.nodes().every(({ node }) => node >= self);
  };

  /** The node that leads as far as this one knows, where that is another one. */
  get leader(): NodeInfo | undefined {
    if (this.leads()) return undefined;
    const [first] = this.#hub.nodes().toSorted((a, b) => a.node < b.node ? -1 : 1);
    return first?.self === true ? undefined : first;
  }

  /** Resolves once this node leads, or the server stops. */
  readonly untilLeading = async (): Promise<void> => {
    while (!this.leads() && !this.#signal.aborted) await sleep(CHECK_MILLISECONDS, this.#signal);
  };
}
