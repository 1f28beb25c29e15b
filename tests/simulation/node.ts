/** One simulated node: the real hub, gate, limits and plain protocol over an engine, and the doors that clients use. */
import { ApiKeys } from "../../lib/auth/api_keys.ts";
import { Gate } from "../../lib/auth/gate.ts";
import type { Pass } from "../../lib/auth/pass.ts";
import type { Cluster } from "../../lib/core/cluster/cluster.ts";
import { Hub } from "../../lib/core/hub.ts";
import { Limits } from "../../lib/core/limits.ts";
import type { Log, LogPage, LogQuery, Receipt } from "../../lib/core/log.ts";
import type { Logger } from "../../lib/core/logger.ts";
import { MemoryState } from "../../lib/core/memory_state.ts";
import type { Draft, Message, MessageId } from "../../lib/core/message.ts";
import { Connections } from "../../lib/http/connections.ts";
import type { Services } from "../../lib/protocols/protocol.ts";
import type { Random } from "../soak/random.ts";
import { RULES } from "./book.ts";
import type { Owner, VirtualTime } from "./virtual_time.ts";

/** Small, so that a few messages are too many for a stalled socket. */
const OUTBOX_LIMITS = { messages: 24, bytes: 4_000 };
const NO_LIMIT = { value: Infinity, sparesLoopback: false };

/** What a run of a node is made of. */
export interface SimulatedNode {
  readonly name: string;
  readonly owner: Owner;
  readonly log: Log;
  readonly hub: Hub;
  readonly cluster: Cluster | undefined;
  readonly limits: Limits;
  /** Whether its engine has begun with what others had stored. */
  hasLoaded: boolean;
  readonly services: Services;
  /** The pass of everybody without credentials, and that of an operator. */
  readonly pass: Pass;
  readonly operator: Pass;
}

interface Options {
  readonly name: string;
  readonly owner: Owner;
  readonly log: Log;
  readonly cluster: Cluster | undefined;
  readonly logger: Logger;
}

const REQUEST = new Request("http://localhost/");

/** Assembles a node over its engine. */
export async function createNode({ name, owner, log, cluster, logger }: Options): Promise<SimulatedNode> {
  const rules = RULES;
  const limits = new Limits({
    maxConnections: 1_000,
    maxConnectionsPerAddress: NO_LIMIT,
    maxPublishRate: NO_LIMIT,
    maxPublishRatePerAddress: NO_LIMIT,
    publishBurst: 1,
  });
  const identity = { node: name, name, version: "simulated", startedAt: 0 };
  const hub = new Hub({ log, rules, logger, maxMessageBytes: 200_000, cluster, identity });
  const apiKeys = new ApiKeys([], { open: false });
  const gate = new Gate({ open: false, verifier: undefined, rules, logger, apiKeys });
  const proxies = { networks: [], header: "x-forwarded-for" as const };
  const services: Services = {
    hub,
    gate,
    rules,
    limits,
    connections: new Connections({ limits, proxies, metrics: hub.metrics, logger }),
    logger,
    cluster,
    outboxLimits: OUTBOX_LIMITS,
    pages: { owns: () => false, fetch: () => Promise.reject(new TypeError("No pages here")) },
    state: log.state ?? new MemoryState(),
    // Nothing is scheduled here.
    scheduler: undefined as unknown as Services["scheduler"],
    readSettingFile: () => Promise.reject(new TypeError("No files here")),
    settings: {
      maxMessageBytes: 200_000,
      maxSubscriptions: 10,
      keepAlive: 30,
      bodyTimeout: 30,
    } as Services["settings"],
  };
  const pass = await gate.admit(REQUEST);
  return {
    name,
    owner,
    log,
    hub,
    cluster,
    limits,
    hasLoaded: false,
    services,
    pass,
    operator: gate.operator,
  };
}

/** An engine whose pages take their time, as those of a file or another machine do. */
export class UnhurriedLog implements Log {
  readonly #log: Log;
  readonly #time: VirtualTime;
  readonly #random: Random;

  constructor(log: Log, time: VirtualTime, random: Random) {
    this.#log = log;
    this.#time = time;
    this.#random = random;
  }

  get top(): Log["top"] {
    return this.#log.top;
  }

  set onStored(onStored: (messages: readonly Message[]) => void) {
    this.#log.onStored = onStored;
  }

  get onStored(): Log["onStored"] {
    return this.#log.onStored;
  }

  set onRemoved(onRemoved: Log["onRemoved"]) {
    this.#log.onRemoved = onRemoved;
  }

  get onRemoved(): Log["onRemoved"] {
    return this.#log.onRemoved;
  }

  remove(channel: string, id: MessageId): Promise<boolean> {
    return this.#log.remove(channel, id);
  }

  append(draft: Draft): Promise<Receipt> {
    return this.#log.append(draft);
  }

  clear(channel: string): Promise<number> {
    return this.#log.clear(channel);
  }

  checkReady(): string | undefined {
    return this.#log.checkReady?.();
  }

  listStored(): ReturnType<NonNullable<Log["listStored"]>> {
    return this.#log.listStored?.() ?? [];
  }

  findStored(channel: string): ReturnType<NonNullable<Log["findStored"]>> {
    return this.#log.findStored?.(channel);
  }

  /** The page is as of some moment between the question and the answer. */
  async read(query: LogQuery): Promise<LogPage> {
    await this.#wait();
    const page = await this.#log.read(query);
    await this.#wait();
    return page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#log[Symbol.asyncDispose]();
  }

  async #wait(): Promise<void> {
    const delay = this.#random.pick([0, 0, 1, 3, 20]);
    if (delay > 0) await new Promise<void>((resolve) => this.#time.after(delay, resolve));
  }
}
