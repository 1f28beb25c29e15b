/** Several nodes over one simulated JetStream, and what happens to them: frozen, killed, stopped, cut off. */
import { Cluster } from "../../lib/core/cluster/cluster.ts";
import type { ErrorCode } from "../../lib/core/errors.ts";
import { JetStreamEngine } from "../../lib/engines/jetstream/engine.ts";
import { RULES } from "./book.ts";
import { Network } from "./nats/network.ts";
import { SimulatedNats } from "./nats/server.ts";
import { createNode, type SimulatedNode } from "./node.ts";
import type { Action, ServerState } from "./plan.ts";
import { createLogger, type Site, type SiteOptions } from "./site.ts";
import { createOwner, type Owner } from "./virtual_time.ts";

/** A place for a node, which one run after the other takes. */
interface Slot {
  readonly index: number;
  owner: Owner;
  node: SimulatedNode | undefined;
  runs: number;
}

/** Milliseconds that a start may take while everything works. */
const START_MILLISECONDS = 1_000;
/** How long removed messages stay on the server: shorter than some nodes are cut off. */
const GRACE_MILLISECONDS = 4_000;
/** Milliseconds between draining and the end of a node that is stopped. */
const DRAIN_MILLISECONDS = 500;
const STOP_MILLISECONDS = 11_000;

export class ClusterSite implements Site {
  readonly #options: SiteOptions;
  readonly #server = createOwner();
  readonly #network: Network;
  readonly #nats: SimulatedNats;
  readonly #slots: readonly Slot[];
  readonly slack = 500;
  readonly rest = 12_000;
  isAtRest = false;
  /** Whether anything has been broken so far. */
  #wasBroken = false;

  constructor(options: SiteOptions, count: number) {
    this.#options = options;
    this.#network = new Network({ ...options, server: this.#server });
    this.#nats = new SimulatedNats(this.#network);
    this.#slots = Array.from(
      { length: count },
      (_, index) => ({ index, owner: createOwner(), node: undefined, runs: 0 }),
    );
  }

  get nodes(): readonly SimulatedNode[] {
    return this.#slots.flatMap(({ node }) => node ?? []);
  }

  async open(): Promise<void> {
    for (const slot of this.#slots) await this.#start(slot);
    await this.#options.time.pass(START_MILLISECONDS);
  }

  find(index: number): SimulatedNode | undefined {
    const { node, owner } = this.#slots[index % this.#slots.length]!;
    return owner.frozen || node?.hub.draining ? undefined : node;
  }

  mayRefuse(code: ErrorCode): boolean {
    return this.#wasBroken && (code === "log_unavailable" || code === "draining");
  }

  async take(step: Action): Promise<boolean> {
    switch (step.do) {
      case "clock":
        this.#slots[step.node % this.#slots.length]!.owner.clockError += step.by;
        return true;
      case "noise":
        this.#nats.noise.level = step.level;
        return true;
      case "slow":
        this.#wasBroken = true;
        this.#network.slow(this.#slots[step.node % this.#slots.length]!.owner, step.by);
        return true;
      case "server":
        await this.#strikeServer(step.state);
        return true;
      case "freeze":
      case "thaw":
      case "kill":
      case "stop":
      case "start":
      case "cut":
      case "mend":
        await this.#strike(step.do, this.#slots[step.node % this.#slots.length]!);
        return true;
      default:
        return false;
    }
  }

  async mend(): Promise<void> {
    this.#nats.noise.level = 0;
    await this.#strikeServer("running");
    for (const slot of this.#slots) {
      this.#network.slow(slot.owner, 0);
      for (const blow of ["thaw", "mend", "start"] as const) await this.#strike(blow, slot);
    }
    await this.#options.time.pass(this.rest);
    for (const slot of this.#slots) await this.#strike("start", slot);
    this.isAtRest = true;
  }

  async close(): Promise<void> {
    const { time } = this.#options;
    for (const { owner, log, cluster } of this.nodes) {
      await time.as(owner, () => {
        cluster?.[Symbol.dispose]();
        void log[Symbol.asyncDispose]();
      });
    }
    await time.pass(100);
  }

  async #strikeServer(state: ServerState): Promise<void> {
    const { time } = this.#options;
    if (state !== "running") this.#wasBroken = true;
    if (state === "frozen") this.#server.frozen = true;
    else if (state === "electing") this.#nats.isElecting = true;
    else if (state === "deposed") this.#nats.depose();
    else if (state === "applying") await time.as(this.#server, () => this.#nats.lead());
    else if (state === "lagging") this.#nats.lag();
    else {
      time.thaw(this.#server);
      await time.as(this.#server, () => state === "restart" ? this.#nats.restart() : this.#nats.elect());
    }
  }

  async #strike(
    blow: "freeze" | "thaw" | "kill" | "stop" | "start" | "cut" | "mend",
    slot: Slot,
  ): Promise<void> {
    const { time } = this.#options;
    const { owner, node } = slot;
    switch (blow) {
      case "freeze":
        this.#wasBroken = true;
        owner.frozen = true;
        return;
      case "thaw":
        return time.thaw(owner);
      case "cut":
        this.#wasBroken = true;
        return this.#network.cut(owner);
      case "mend":
        return this.#network.mend(owner);
      case "kill":
        this.#wasBroken = true;
        return this.#end(slot);
      case "stop":
        this.#wasBroken = true;
        if (node === undefined || owner.frozen || node.hub.draining) return;
        return await this.#stop(slot, node);
      case "start":
        if (node === undefined && owner.gone) await this.#start(slot);
        return;
    }
  }

  async #start(slot: Slot): Promise<void> {
    const { time, note, onNode } = this.#options;
    const owner = slot.owner = createOwner();
    const name = `n${slot.index}${"'".repeat(slot.runs++)}`;
    note(() => `${name} starts`);
    await time.as(owner, () => {
      const logger = createLogger(name, note);
      const log = new JetStreamEngine({
        servers: ["127.0.0.1:4222"],
        tls: false,
        stream: "simulated",
        replicas: 1,
        rules: RULES,
        logger,
        grace: GRACE_MILLISECONDS,
        connect: (options) => this.#network.connect(owner, options),
      });
      const read = log.read.bind(log);
      log.read = async (query) => {
        const page = await read(query);
        this.#options.onRead(page.messages);
        return page;
      };
      void log.started.then(async () => {
        const cluster = new Cluster({ bus: log.bus, node: `${slot.index}-${slot.runs}`, logger });
        const node = await createNode({ name, owner, log, cluster, logger });
        const { onReset } = log;
        log.onReset = (reason) => {
          node.hasLoaded = true;
          this.#options.onReset(node);
          onReset(reason);
        };
        node.hasLoaded = slot.runs > 1;
        slot.node = node;
        onNode(node);
      });
    });
  }

  /** As a signal does: clients are told, what is under way is finished, and peers are told too. */
  async #stop(slot: Slot, node: SimulatedNode): Promise<void> {
    const { time } = this.#options;
    const { owner, hub, cluster, log } = node;
    await time.as(owner, () => {
      hub.drain();
      time.after(DRAIN_MILLISECONDS, () => {
        cluster?.[Symbol.dispose]();
        void log[Symbol.asyncDispose]();
      });
    });
    time.after(STOP_MILLISECONDS, () => {
      if (slot.owner === owner) this.#end(slot);
    }, this.#server);
  }

  /** The node is gone, in whatever it was doing. */
  #end(slot: Slot): void {
    const { owner, node } = slot;
    owner.gone = true;
    owner.frozen = false;
    owner.held.length = 0;
    this.#network.mend(owner);
    this.#network.drop(owner);
    slot.node = undefined;
    if (node !== undefined) this.#options.onGone(node);
  }
}
