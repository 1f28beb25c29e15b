/** What a schedule holds: steps, each some time after the one before. A seed makes one, and a schedule prints as text. */
import { Random } from "../soak/random.ts";

export type SessionKind = "plain" | "stream" | "opening";

/** Where a subscription begins. */
export type Since =
  | { readonly kind: "now" }
  | { readonly kind: "earliest" }
  | { readonly kind: "offset"; readonly offset: number }
  | { readonly kind: "ago"; readonly milliseconds: number };

/**
 * What happens to the NATS servers. `deposed`: the leader that answers has lost its place, and does not know what was
 * stored since; `applying`: a leader answers that has not applied yet what it has; `lagging`: most new consumers are placed
 * on a follower that is behind.
 */
export type ServerState = "frozen" | "running" | "restart" | "electing" | "deposed" | "applying" | "lagging";

const SERVER_STATES: readonly ServerState[] = [
  "frozen",
  "running",
  "running",
  "restart",
  "restart",
  "electing",
  "deposed",
  "applying",
  "lagging",
  "lagging",
];

export type Action =
  | {
    readonly do: "publish";
    readonly node: number;
    readonly channel: string;
    /** The payloads begin with this, which no other step uses. */
    readonly text: string;
    readonly count: number;
    readonly padding: number;
    readonly key?: string;
    readonly ttl?: number;
    readonly ephemeral?: boolean;
    /** The subscriber that it is for alone. */
    readonly to?: number;
  }
  /** Publishes what an earlier step did, with its key; or something else with that key. */
  | { readonly do: "retry"; readonly node: number; readonly text: string; readonly changed?: string }
  /** A subscriber sends a message on its own socket. */
  | { readonly do: "say"; readonly who: number; readonly text: string }
  | {
    readonly do: "subscribe";
    readonly who: number;
    readonly node: number;
    readonly kind: SessionKind;
    readonly to: readonly string[];
    readonly since: Since;
    readonly limit?: number;
  }
  | { readonly do: "resume"; readonly who: number; readonly node: number }
  | { readonly do: "drop"; readonly who: number; readonly noticed: number }
  | { readonly do: "stall" | "unstall" | "leave"; readonly who: number }
  | { readonly do: "clear"; readonly node: number; readonly channel: string }
  | { readonly do: "read"; readonly node: number; readonly to: readonly string[] }
  | { readonly do: "clock"; readonly node: number; readonly by: number }
  | { readonly do: "freeze" | "thaw" | "kill" | "start" | "stop"; readonly node: number }
  | { readonly do: "cut" | "mend"; readonly node: number }
  | { readonly do: "server"; readonly state: ServerState }
  /** Its packets are up to so many milliseconds late. */
  | { readonly do: "slow"; readonly node: number; readonly by: number }
  | { readonly do: "noise"; readonly level: number };

export type Step = Action & {
  /** Milliseconds after the step before. */
  readonly wait: number;
};

export interface Plan {
  readonly seed: number;
  /** How many nodes share a simulated JetStream; 0 for one node over the memory engine. */
  readonly nodes: number;
  readonly steps: readonly Step[];
}

/** One seed in so many simulates a cluster over JetStream, which takes much longer. */
export const CLUSTER_EVERY = 40;

export const SUBSCRIBERS = 5;

const CHANNELS = [
  "a",
  "b",
  "a/x",
  "a/y",
  "few/z",
  "few/y",
  "brief/q",
  "latest/p",
  "cursors/c",
  "locked/d",
] as const;
const SELECTORS: readonly (readonly string[])[] = [
  ["a"],
  ["a"],
  ["b"],
  ["few/z"],
  ["brief/q"],
  ["latest/p"],
  ["cursors/c"],
  ["a", "b"],
  ["few/z", "a"],
  ["a/*"],
  ["few/*"],
  ["**"],
  ["locked/d"],
];
const WAITS = [0, 0, 0, 0, 1, 2, 3, 5, 10, 20, 50, 100, 500, 1_000, 3_000] as const;

/** Whether a seed simulates a cluster. */
export function isClusterSeed(seed: number): boolean {
  return seed % CLUSTER_EVERY === 0;
}

/** Makes the schedule of a seed. */
export function createPlan(seed: number): Plan {
  const random = new Random(seed, "plan");
  const nodes = isClusterSeed(seed) ? 2 + Math.floor(random.fraction() * 2) : 0;
  const steps: Step[] = [];
  const length = 8 + Math.floor(random.fraction() * 50);
  const maker = new StepMaker(random, nodes);
  for (let i = 0; i < length; i++) steps.push(...maker.make());
  return { seed, nodes, steps };
}

class StepMaker {
  readonly #random: Random;
  readonly #nodes: number;
  readonly #keyed: string[] = [];
  /** The channels of one schedule are few, so that its steps meet. */
  readonly #channels: readonly string[];
  readonly #selectors: readonly (readonly string[])[];
  #count = 0;

  constructor(random: Random, nodes: number) {
    this.#random = random;
    this.#nodes = nodes;
    const start = Math.floor(random.fraction() * CHANNELS.length);
    this.#channels = [...CHANNELS, ...CHANNELS].slice(start, start + 3);
    const meets = (names: readonly string[]) =>
      names.some((name) => name.includes("*") || this.#channels.includes(name));
    this.#selectors = SELECTORS.filter(meets);
  }

  make(): Step[] {
    const random = this.#random;
    const kind = random.choose({
      publish: 34,
      subscribe: 12,
      resume: 9,
      retry: 6,
      say: 6,
      drop: 6,
      stall: 4,
      unstall: 3,
      leave: 2,
      clear: 3,
      read: 4,
      pass: 2,
      // Nodes of a cluster are expected to have the same time.
      clock: this.#nodes > 0 ? 0 : 2,
      crowd: 0.25,
      fault: this.#nodes > 0 ? 14 : 0,
      hop: this.#nodes > 0 ? 5 : 0,
    });
    const wait = random.pick(WAITS);
    const node = this.#pick(Math.max(1, this.#nodes));
    const who = this.#pick(SUBSCRIBERS);
    switch (kind) {
      case "publish":
        return [{ wait, ...this.#publish(node) }];
      case "crowd":
        return this.#crowd(node, wait);
      case "subscribe":
        return [{ wait, ...this.#subscribe(who, node) }];
      case "retry":
        return this.#retry(node, wait);
      case "say":
        return [{ wait, do: kind, who, text: this.#name() }];
      case "resume":
        return [{ wait, do: kind, who, node }];
      case "drop":
        return [{ wait, do: kind, who, noticed: random.pick([0, 5, 50, 2_000]) }];
      case "stall":
      case "unstall":
      case "leave":
        return [{ wait, do: kind, who }];
      case "clear":
        return [{ wait, do: kind, node, channel: random.pick(this.#channels) }];
      case "read":
        return [{ wait, do: kind, node, to: random.pick(this.#selectors) }];
      case "pass":
        return [{
          wait: this.#nodes > 0 ? 10_000 : random.pick([15_000, 25_000, 301_000]),
          do: "noise",
          level: 0,
        }];
      case "clock":
        return [{ wait, do: kind, node, by: random.pick([-1_800_000, -1_000, 1_000, 3_600_000]) }];
      case "hop":
        return this.#hop(node, who, wait);
      case "fault":
        return [this.#fault(node, wait)];
    }
  }

  #pick(count: number): number {
    return Math.floor(this.#random.fraction() * count);
  }

  #name(): string {
    return `m${++this.#count}`;
  }

  #publish(node: number): Action {
    const random = this.#random;
    const text = this.#name();
    const variant = random.choose({ bare: 50, many: 15, keyed: 15, ttl: 8, ephemeral: 6, to: 6, big: 0.4 });
    const base = {
      do: "publish" as const,
      node,
      channel: random.pick(this.#channels),
      text,
      count: variant === "many" ? 2 + this.#pick(8) : 1,
      padding: variant === "big" ? 100_000 : random.pick([0, 0, 10, 200]),
    };
    if (variant === "ttl") return { ...base, ttl: random.pick([1, 2, 5]) };
    if (variant === "ephemeral") return { ...base, ephemeral: true };
    if (variant === "to") return { ...base, to: this.#pick(SUBSCRIBERS) };
    if (variant !== "keyed") return base;
    this.#keyed.push(text);
    return { ...base, key: `k${text}`, ...(random.fraction() < 0.2 ? { ephemeral: true } : {}) };
  }

  /** Many messages at once, more than a page of a replay or a held buffer takes. */
  #crowd(node: number, wait: number): Step[] {
    const base = { do: "publish", node, channel: this.#random.pick(this.#channels) } as const;
    const isBig = this.#random.fraction() < 0.5;
    const publish: Step = {
      wait,
      ...base,
      text: this.#name(),
      count: isBig ? 12 : 300,
      padding: isBig ? 100_000 : 0,
    };
    return [publish];
  }

  /** A subscriber has just heard of a message, and goes on at another node. */
  #hop(node: number, who: number, wait: number): Step[] {
    return [
      { wait, ...this.#publish(node) },
      { wait: this.#random.pick([10, 20, 50]), do: "drop", who, noticed: 0 },
      { wait: 0, do: "resume", who, node: node + 1 },
    ];
  }

  #retry(node: number, wait: number): Step[] {
    if (this.#keyed.length === 0) return [];
    const text = this.#random.pick(this.#keyed);
    const isChanged = this.#random.fraction() < 0.25;
    return [{ wait, do: "retry", node, text, ...(isChanged ? { changed: this.#name() } : {}) }];
  }

  #subscribe(who: number, node: number): Action {
    const random = this.#random;
    const to = random.pick(this.#selectors);
    const isOne = to.length === 1 && !to[0]!.includes("*");
    const since = random.choose({ now: 6, earliest: 3, offset: isOne ? 2 : 0, ago: 1 });
    return {
      do: "subscribe",
      who,
      node,
      kind: random.choose({ plain: isOne ? 6 : 3, stream: 4, opening: 2 }),
      to,
      since: since === "offset"
        ? { kind: since, offset: random.pick([0, 1, 3, 6, 100_000]) }
        : since === "ago"
        ? { kind: since, milliseconds: random.pick([5, 1_000, 60_000]) }
        : { kind: since },
      ...(random.fraction() < 0.1 ? { limit: 1 + this.#pick(5) } : {}),
    };
  }

  #fault(node: number, wait: number): Step {
    const kind = this.#random.choose({
      freeze: 2,
      thaw: 3,
      kill: 2,
      stop: 1,
      start: 4,
      cut: 2,
      mend: 3,
      server: 3,
      noise: 2,
      slow: 4,
    });
    switch (kind) {
      case "server":
        return {
          wait,
          do: kind,
          state: this.#random.pick(SERVER_STATES),
        };
      case "slow":
        return { wait, do: kind, node, by: this.#random.pick([0, 50, 300, 1_500]) };
      case "noise":
        return { wait, do: kind, level: this.#random.pick([0, 0.1, 0.3]) };
      default:
        return { wait, do: kind, node };
    }
  }
}

/** A schedule as people read it: a line a step. */
export function formatPlan({ seed, nodes, steps }: Plan): string {
  const place = nodes === 0 ? "one node, memory engine" : `${nodes} nodes, JetStream engine`;
  return [`seed ${seed}: ${place}`, ...steps.map(formatStep)].join("\n");
}

function formatStep(step: Step): string {
  const { wait, do: verb, ...rest } = step;
  const words = Object.entries(rest).map(([name, value]) =>
    `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`
  );
  return `  +${wait} ms  ${verb} ${words.join(" ")}`;
}
