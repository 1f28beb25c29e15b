/** Several hubs in one process, each with its cluster on a network, a clock and turns in the test's hands. */
import { selectChannel, type Selector, selectPatterns } from "../../lib/core/channel.ts";
import { Cluster } from "../../lib/core/cluster/cluster.ts";
import { Hub } from "../../lib/core/hub.ts";
import { Rules } from "../../lib/core/rules.ts";
import type { Subscription } from "../../lib/core/subscription.ts";
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";
import { type FakeBus, FakeNetwork } from "./bus.ts";
import { RecordingLogger } from "./recording_logger.ts";
import { ManualSchedule, settle } from "./schedule.ts";
import { createClient, type FakeClient, type FakeClientOptions } from "./socket.ts";

export interface FakeNode {
  readonly name: string;
  readonly hub: Hub;
  readonly cluster: Cluster;
  readonly bus: FakeBus;
  readonly logger: RecordingLogger;
  readonly loop: ManualSchedule;
  /** What it does every second. */
  tick: () => void;
}

export class FakeNodes {
  readonly network = new FakeNetwork();
  readonly alive = new Set<FakeNode>();
  /** The clock of all nodes, in milliseconds. */
  now = 0;
  #count = 0;

  /** Starts a node. @param process the one that it is a thread of; one of its own if left out */
  start(maxBytes?: number, process?: string): FakeNode {
    const name = `n${++this.#count}`;
    const loop = new ManualSchedule();
    const logger = new RecordingLogger();
    const bus = this.network.connect(maxBytes, process !== undefined);
    let tick = () => {};
    const every = (_: number, task: () => void) => {
      tick = task;
      return () => tick = () => {};
    };
    const cluster = new Cluster({
      bus,
      node: name,
      process,
      logger,
      now: () => this.now,
      every,
      schedule: loop.schedule,
    });
    const rules = new Rules();
    const log = new MemoryEngine({ rules, schedule: loop.schedule });
    const identity = { node: name, process, name, version: "test", startedAt: 0 };
    const hub = new Hub({ log, rules, logger, maxMessageBytes: 100, cluster, identity });
    const node: FakeNode = { name, hub, cluster, bus, logger, loop, tick: () => tick() };
    this.alive.add(node);
    return node;
  }

  /** Ends a node without a word. */
  kill(node: FakeNode): void {
    this.network.disconnect(node.bus);
    this.alive.delete(node);
  }

  /** Ends a node as `SIGTERM` does. */
  stop(node: FakeNode): void {
    node.hub.drain();
    node.cluster[Symbol.dispose]();
    this.alive.delete(node);
  }

  /** Ends all turns and delivers all that is under way, until nothing happens any more. */
  settle(): void {
    do {
      for (const { loop } of this.alive) loop.run();
      while (this.network.waiting > 0) this.network.deliver();
    } while ([...this.alive].some(({ loop }) => loop.waiting > 0));
  }

  /** Lets seconds go by, in each of which everything is delivered. */
  pass(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      this.now += 1_000;
      for (const node of this.alive) node.tick();
      this.settle();
    }
  }
}

/**
 * Delivers what is under way, again and again, until a promise has settled.
 *
 * @param step what happens before promises go on; all that can if left out
 */
export async function runUntil<T>(
  nodes: FakeNodes,
  promise: Promise<T>,
  step = () => nodes.settle(),
): Promise<T> {
  let settled = false;
  const end = () => settled = true;
  promise.then(end, end);
  while (!settled) {
    step();
    await settle();
  }
  return await promise;
}

export interface Reader {
  readonly client: FakeClient;
  readonly subscription: Subscription;
}

/** Connects a client that reads channels or patterns. */
export function read(node: FakeNode, names: string, options: FakeClientOptions = {}): Reader {
  const client = createClient({ onEnd: (ended) => node.hub.disconnect(ended), ...options });
  node.hub.connect(client);
  return { client, subscription: node.hub.subscribe(client, toSelector(names)) };
}

export function toSelector(names: string): Selector {
  return names.includes(" ") || names.includes("*") ? selectPatterns(names.split(" ")) : selectChannel(names);
}

/** Who is on a channel, as a node sees it: client ids with the node that has them. */
export function listMembers({ name, hub }: FakeNode, channel: string): string[] {
  return hub.presence.list(channel).map((member) => `${member.id}@${member.node ?? name}`).sort();
}
