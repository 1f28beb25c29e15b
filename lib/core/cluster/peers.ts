/** The peers that a node has heard of, other threads of its process among them. The cluster keeps them. */
import type { NodeSummary } from "./codec.ts";
import type { NodeInfo } from "./processes.ts";
import type { Replica } from "./replica.ts";

export interface Peer {
  readonly node: string;
  readonly replica: Replica;
  summary: NodeSummary | undefined;
  heardAt: number;
  /** When a page was last requested. */
  askedAt: number;
}

/** Somebody who waits until this node knows all that some others have. */
interface Wait {
  readonly missing: Set<string>;
  readonly end: () => void;
}

export class Peers {
  readonly #process: string;
  readonly #peers = new Map<string, Peer>();
  /** The replicas of nodes that are gone, while their entries are being removed. */
  readonly #leaving = new Map<string, Replica>();
  readonly #waits = new Set<Wait>();

  /** @param process that of this node */
  constructor(process: string) {
    this.#process = process;
  }

  get size(): number {
    return this.#peers.size;
  }

  /** In the order in which they were found. */
  get all(): readonly Peer[] {
    return [...this.#peers.values()];
  }

  /** The other threads of this process. */
  get own(): readonly Peer[] {
    return this.all.filter(({ summary }) => this.isOwn(summary));
  }

  get(node: string): Peer | undefined {
    return this.#peers.get(node);
  }

  add(peer: Peer): void {
    // What it had before is removed first, so that whoever leaves does so before coming back.
    this.#leaving.get(peer.node)?.clearAtOnce();
    this.#peers.set(peer.node, peer);
  }

  /** Forgets a node that is gone, and in slices all that it had; one that was never heard too. */
  forget(node: string): void {
    const replica = this.#peers.get(node)?.replica;
    this.#peers.delete(node);
    if (replica !== undefined) void this.#clear(node, replica);
    for (const wait of this.#waits) found(wait, node);
  }

  async #clear(node: string, replica: Replica): Promise<void> {
    this.#leaving.set(node, replica);
    await replica.clear();
    if (this.#leaving.get(node) === replica) this.#leaving.delete(node);
  }

  /** Says that a peer was heard, and that nothing more was to be asked of it. */
  note(peer: Peer): void {
    if (this.#waits.size === 0 || !isWhole(peer)) return;
    for (const wait of this.#waits) found(wait, peer.node);
  }

  /**
   * Resolves once each of some nodes was heard and all that it has is known, or it is gone.
   *
   * @returns those for which that does not hold when time is over
   */
  async untilWhole(nodes: readonly string[], milliseconds: number): Promise<readonly string[]> {
    const missing = new Set(nodes.filter((node) => !isWhole(this.#peers.get(node))));
    if (missing.size === 0) return [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const wait: Wait = { missing, end: resolve };
    this.#waits.add(wait);
    const timer = setTimeout(resolve, milliseconds);
    await promise;
    clearTimeout(timer);
    this.#waits.delete(wait);
    return [...missing];
  }

  /** Ends all waiting: nothing is heard any more. */
  endWaiting(): void {
    for (const { end } of this.#waits) end();
  }

  /** What those that have told it say of themselves. @param now as of `heardAt` */
  describe(now: number): readonly NodeInfo[] {
    return this.all.flatMap(({ node, summary, heardAt }): NodeInfo[] =>
      summary === undefined ? [] : [{ ...summary, node, self: false, silent: Math.round(now - heardAt) }]
    );
  }

  /** The clients and subscriptions of the other threads of this process. */
  countOwn(): { readonly clients: number; readonly subscriptions: number } {
    let [clients, subscriptions] = [0, 0];
    for (const { summary, replica } of this.#peers.values()) {
      if (!this.isOwn(summary)) continue;
      const count = replica.count();
      clients += count.clients;
      subscriptions += count.subscriptions;
    }
    return { clients, subscriptions };
  }

  /** Whether a node is a thread of this process. */
  isOwn(summary: Pick<NodeSummary, "process"> | undefined): boolean {
    return summary?.process === this.#process;
  }

  /** Whether a node is the only one we know of its process. */
  isNews(peer: Peer, summary: NodeSummary | undefined): boolean {
    const process = summary?.process;
    if (process === undefined) return true;
    return process !== this.#process &&
      this.#peers.values().every((other) => other === peer || other.summary?.process !== process);
  }
}

/** Whether a node has told what it is, and is known with all it has. */
function isWhole(peer: Peer | undefined): boolean {
  return peer?.summary !== undefined && peer.replica.isWhole;
}

function found({ missing, end }: Wait, node: string): void {
  if (missing.delete(node) && missing.size === 0) end();
}
