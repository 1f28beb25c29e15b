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

export class Peers {
  readonly #process: string;
  readonly #peers = new Map<string, Peer>();

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
    this.#peers.set(peer.node, peer);
  }

  remove({ node }: Peer): void {
    this.#peers.delete(node);
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
