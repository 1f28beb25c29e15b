/** Runs one schedule: the real code in virtual time, its clients, and the oracle that watches both. */
import type { Message } from "../../lib/core/message.ts";
import { Random } from "../soak/random.ts";
import { Book, Broken, type Entry, place } from "./book.ts";
import type { SimulatedNode } from "./node.ts";
import { type Action, type Plan, type Step, SUBSCRIBERS } from "./plan.ts";
import { Requests } from "./requests.ts";
import { ClusterSite } from "./cluster_site.ts";
import { MemorySite, type Site } from "./site.ts";
import { Subscriber } from "./subscriber.ts";
import { VirtualTime } from "./virtual_time.ts";

export interface Outcome {
  /** Which promise was broken; undefined if none was. */
  readonly failure: string | undefined;
  /** What happened, a line each; empty unless asked for. */
  readonly trace: readonly string[];
}

/** How often subscribers that were closed connect again before the end. */
const LAST_ATTEMPTS = 30;

/** Simulates a schedule. Nothing else may run in this process meanwhile, as it replaces clocks and timers. */
export async function simulate(plan: Plan, keepsTrace = false): Promise<Outcome> {
  const simulation = new Simulation(plan, keepsTrace);
  using _ = simulation.time.install();
  return await simulation.run();
}

class Simulation {
  readonly time: VirtualTime;
  readonly #plan: Plan;
  readonly #book: Book;
  readonly #site: Site;
  readonly #subscribers: readonly Subscriber[];
  readonly #requests: Requests;
  readonly #trace: string[] = [];
  readonly #keepsTrace: boolean;
  /** Announcements by node: the last sequence, and the last offset of each channel. */
  readonly #heard = new Map<
    SimulatedNode,
    { epoch: string; sequence: number; offsets: Map<string, number> }
  >();
  #failure: string | undefined;

  constructor(plan: Plan, keepsTrace: boolean) {
    const random = new Random(plan.seed, "world");
    this.#plan = plan;
    this.#keepsTrace = keepsTrace;
    this.time = new VirtualTime(new Random(plan.seed, "chance"));
    const siteOptions = {
      time: this.time,
      random,
      note: (line: () => string) => this.#note(line),
      onNode: (node: SimulatedNode) => this.#watch(node),
      onReset: (node: SimulatedNode) => void this.#heard.get(node)?.offsets.clear(),
      onRead: (messages: readonly Message[]) =>
        this.#check(() => messages.forEach((message) => this.#book.announce(message))),
      onGone: (node: SimulatedNode) => this.#subscribers.forEach((each) => each.lose(node)),
    };
    this.#site = plan.nodes === 0 ? new MemorySite(siteOptions) : new ClusterSite(siteOptions, plan.nodes);
    this.#book = new Book(this.time, () => this.#site.slack);
    const surroundings = {
      time: this.time,
      random,
      book: this.#book,
      note: (line: () => string) => this.#note(line),
      check: (task: () => void) => this.#check(task),
    };
    this.#subscribers = Array.from({ length: SUBSCRIBERS }, (_, i) => new Subscriber(i, surroundings));
    this.#requests = new Requests({ ...surroundings, site: this.#site, subscribers: this.#subscribers });
  }

  async run(): Promise<Outcome> {
    try {
      await this.#site.open();
      for (const step of this.#plan.steps) {
        await this.time.pass(step.wait);
        await this.#take(step);
        if (this.#failure !== undefined) break;
      }
      if (this.#failure === undefined) await this.#finish();
    } catch (error) {
      this.#failure ??= error instanceof Broken ? error.message : describeCrash(error);
    }
    return { failure: this.#failure, trace: this.#trace };
  }

  #note(line: () => string): void {
    if (this.#keepsTrace) this.#trace.push(`${this.time.now.toFixed(3)} ${line()}`);
  }

  #check(task: () => void): void {
    try {
      task();
    } catch (error) {
      this.#failure ??= error instanceof Broken ? error.message : describeCrash(error);
    }
  }

  /** Watches what a node announces, which is right before it delivers it. */
  #watch(node: SimulatedNode): void {
    node.hub.observe((messages) =>
      this.#check(() => messages.forEach((message) => this.#hear(node, message)))
    );
  }

  #hear(node: SimulatedNode, message: Message): void {
    this.#note(() => `${node.name} announces ${message.channel} ${place(message)} ${textOf(message)}`);
    const entry = this.#book.announce(message);
    this.#checkSequence(node, entry, message);
    for (const subscriber of this.#subscribers) subscriber.expect(node, entry);
  }

  #checkSequence(node: SimulatedNode, { text }: Entry, message: Message): void {
    const { channel, epoch, sequence, offset } = message;
    if (sequence === 0) return;
    let heard = this.#heard.get(node);
    if (heard === undefined || heard.epoch !== epoch) {
      this.#heard.set(node, heard = { epoch, sequence: 0, offsets: new Map() });
    }
    if (sequence <= heard.sequence) {
      throw new Broken(`${node.name} announced ${text} as ${sequence} after ${heard.sequence}`);
    }
    heard.sequence = sequence;
    const before = heard.offsets.get(channel);
    if (before !== undefined && offset !== before + 1) {
      throw new Broken(`${node.name} announced ${text} with offset ${offset} of ${channel} after ${before}`);
    }
    heard.offsets.set(channel, offset);
    const stored = node.log.findStored?.(channel)?.offset ?? 0;
    if (stored < offset) throw new Broken(`${node.name} announced ${text} before it was stored`);
  }

  async #take(step: Step): Promise<void> {
    this.#note(() => `step ${step.do}`);
    if (await this.#site.take(step)) return;
    const node = "node" in step ? this.#site.find(step.node) : undefined;
    if ("node" in step && node === undefined) return;
    const owner = node?.owner;
    await this.time.as(owner, () => this.#check(() => this.#act(step, node)));
  }

  #act(step: Action, node: SimulatedNode | undefined): void {
    const subscriber = "who" in step ? this.#subscribers[step.who] : undefined;
    switch (step.do) {
      case "subscribe":
        return subscriber!.subscribe(node!, step.kind, step.to, step.since, step.limit);
      case "resume":
        return subscriber!.resume(node!);
      case "drop":
        return subscriber!.drop(step.noticed);
      case "stall":
        return subscriber!.stall();
      case "unstall":
        return subscriber!.unstall();
      case "leave":
        return subscriber!.leave();
      case "say":
        return this.#requests.say(subscriber!, step.text);
      case "publish":
        return this.#requests.publishAll(node!, step);
      case "retry":
        return this.#requests.retry(node!, step.text, step.changed);
      case "clear":
        return void this.#requests.clear(node!, step.channel);
      case "read":
        return void this.#requests.read(node!, step.to);
    }
  }

  /** Mends everything, lets all come to rest, and looks whether everybody has what they must have. */
  async #finish(): Promise<void> {
    await this.#site.mend();
    for (const subscriber of this.#subscribers) await this.time.as(undefined, () => subscriber.unstall());
    for (let i = 0; i < LAST_ATTEMPTS && this.#failure === undefined; i++) {
      await this.time.pass(this.#site.rest);
      const away = this.#subscribers.filter((each) => each.active && !each.isConnected);
      if (away.length === 0) break;
      if (i === LAST_ATTEMPTS - 1) throw new Broken(`${away[0]!.id} never comes to rest`);
      for (const subscriber of away) {
        const node = this.#site.find(subscriber.index);
        if (node !== undefined) {
          await this.time.as(node.owner, () => this.#check(() => subscriber.resume(node)));
        }
      }
    }
    if (this.#failure !== undefined) return;
    for (const node of this.#site.nodes) {
      await this.time.as(node.owner, () => void this.#requests.read(node, ["**"]));
      await this.time.pass(200);
    }
    this.#check(() => this.#judgeRest());
    if (this.#failure === undefined) await this.#close();
  }

  #judgeRest(): void {
    for (const subscriber of this.#subscribers) subscriber.judge();
    for (const { text, refused, announced } of this.#book.entries.values()) {
      if (refused !== undefined && announced !== undefined) {
        throw new Broken(`${text} was refused (${refused}) and delivered`);
      }
    }
    for (const node of this.#site.nodes) this.#judgePresence(node);
  }

  /** Presence: every connection that is open, on all nodes, and no other. */
  #judgePresence(node: SimulatedNode): void {
    const due = new Map<string, number>();
    for (const { line, selector: { channel } } of this.#subscribers) {
      if (channel !== undefined && line?.socket.isOpen) due.set(channel, (due.get(channel) ?? 0) + 1);
    }
    for (const channel of new Set(this.#subscribers.map(({ selector }) => selector.key))) {
      const { connections } = node.hub.presence.count(channel);
      const wanted = due.get(channel) ?? 0;
      if (connections !== wanted) {
        throw new Broken(`${node.name} sees ${connections} on ${channel}, where there are ${wanted}`);
      }
    }
    const others = this.#subscribers.filter(({ line }) => line?.socket.isOpen).length;
    const seen = node.hub.nodes().reduce((sum, { clients }) => sum + clients, 0);
    if (seen !== others) throw new Broken(`${node.name} counts ${seen} clients, and there are ${others}`);
  }

  /** Everybody goes, and nothing may be left. */
  async #close(): Promise<void> {
    for (const subscriber of this.#subscribers) await this.time.as(undefined, () => subscriber.leave());
    await this.time.pass(this.#site.rest);
    this.#check(() => {
      for (const { name, hub, limits } of this.#site.nodes) {
        const left = {
          clients: hub.clientCount,
          subscriptions: hub.subscriptionCount,
          selectors: hub.groupCount,
          connections: limits.connections,
          members: this.#subscribers.reduce(
            (sum, { selector }) => sum + hub.presence.count(selector.key).connections,
            0,
          ),
          channels: [...hub.listChannels()].length,
        };
        const [what] = Object.entries(left).find(([, count]) => count !== 0) ?? [];
        if (what !== undefined) {
          throw new Broken(`All have left, and ${name} still has ${what}: ${JSON.stringify(left)}`);
        }
      }
    });
    await this.#site.close();
  }
}

function textOf({ payload }: Message): string {
  return payload.kind === "bytes" ? "(bytes)" : payload.text.slice(0, 12);
}

function describeCrash(error: unknown): string {
  return `crashed: ${error instanceof Error ? error.stack : error}`;
}
