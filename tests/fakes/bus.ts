/** A network between nodes of one process, in a test's hands: it delivers, loses and parts as the test says. */
import type { Bus } from "../../lib/core/cluster/bus.ts";

interface Packet {
  readonly from: FakeBus;
  readonly to: FakeBus;
  readonly topic: string;
  readonly bytes: Uint8Array;
}

/** Keeps what was published until it is delivered. From one node to another everything keeps its order. */
export class FakeNetwork {
  readonly #buses = new Set<FakeBus>();
  #packets: Packet[] = [];
  /** Decides of each message as it is published whether it is lost. */
  loses: (packet: { readonly topic: string; readonly text: string }) => boolean = () => false;

  connect(maxBytes?: number, isLocal?: boolean): FakeBus {
    const bus = new FakeBus(this, maxBytes, isLocal);
    this.#buses.add(bus);
    return bus;
  }

  /** Takes a node off: what is under way to or from it is lost. */
  disconnect(bus: FakeBus): void {
    this.#buses.delete(bus);
    this.#packets = this.#packets.filter(({ from, to }) => from !== bus && to !== bus);
  }

  /** How many messages are under way. */
  get waiting(): number {
    return this.#packets.length;
  }

  publish(from: FakeBus, topic: string, bytes: Uint8Array): void {
    const text = new TextDecoder().decode(bytes);
    for (const to of this.#buses) {
      if (to.side !== from.side || !to.listens(topic)) continue;
      if (!this.loses({ topic, text })) this.#packets.push({ from, to, topic, bytes });
    }
  }

  /** Delivers one message: the oldest between two nodes, `pick` says which two. */
  deliver(pick = 0): void {
    const chosen = this.#packets[pick % this.#packets.length];
    if (chosen === undefined) return;
    const first = this.#packets.findIndex(({ from, to }) => from === chosen.from && to === chosen.to);
    const [packet] = this.#packets.splice(first, 1);
    packet?.to.receive(packet.topic, packet.bytes);
  }
}

export class FakeBus implements Bus {
  readonly isLocal: boolean;
  connected = true;
  readonly maxBytes: number;
  /** Nodes on different sides of a partition do not hear each other. */
  side = 0;
  readonly #network: FakeNetwork;
  readonly #listeners = new Map<string, (bytes: Uint8Array) => void>();

  constructor(network: FakeNetwork, maxBytes = 1_000_000, isLocal = false) {
    this.#network = network;
    this.maxBytes = maxBytes;
    this.isLocal = isLocal;
  }

  publish(topic: string, bytes: Uint8Array): void {
    if (bytes.byteLength > this.maxBytes) throw new TypeError("Too large to be published");
    if (this.connected) this.#network.publish(this, topic, bytes);
  }

  subscribe(topic: string, onMessage: (bytes: Uint8Array) => void): () => void {
    this.#listeners.set(topic, onMessage);
    return () => this.#listeners.delete(topic);
  }

  listens(topic: string): boolean {
    return this.connected && this.#listeners.has(topic);
  }

  receive(topic: string, bytes: Uint8Array): void {
    this.#listeners.get(topic)?.(bytes);
  }
}
