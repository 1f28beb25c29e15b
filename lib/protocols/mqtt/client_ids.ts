/**
 * Which connection has a client id: one at a time, on whatever node it is (MQTT 5.0 section 3.1.4, MQTT-3.1.4-3).
 * Connections claim their client id here before they read the session.
 *
 * A claim has a rank, which is noted before the other nodes are asked. Of two claims for one id, both nodes find the
 * same one to be the newer, whichever question arrives first: so one connection stays where both come at once.
 *
 * A client does not wait for nodes that are slow to answer, and a node may not know all others yet. Those that did not
 * answer are asked again, once a heartbeat, while the connection that was granted the id has it, and so are those that are
 * found within ten heartbeats. Two nodes that find each other later, after a partition, ask nothing: of two connections that
 * came meanwhile, one ends when it stores its session; without a stored session both stay until one comes back.
 */
import { SliceClock } from "../../base/slices.ts";
import { type Cluster, HEARTBEAT_MILLISECONDS } from "../../core/cluster/cluster.ts";
import type { Outcome } from "../../core/cluster/calls.ts";
import { repeat } from "../../core/cluster/options.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Pass } from "../../auth/pass.ts";
import { REASONS } from "./reasons.ts";
import { supersededClaim, takenId } from "./refusal.ts";

const METHOD = "mqtt.takeOver";

/** How long a client waits for the other nodes. What they answer later ends its connection if the id is another's. */
const DEADLINE_MILLISECONDS = 1_000;

/** Heartbeats for which nodes are looked for that have not been asked, after all that are known have agreed. */
const WATCHED_BEATS = 10;

const TAKEN_OVER = "Another connection has this client id";

/** Who connects, or connected before. */
type Owner = Pick<Pass, "user"> & Partial<Pick<Pass, "hasKey">>;

/**
 * Whether somebody may take over what another connected: the same user may, on an open server everybody, and whoever
 * has an API key. What was connected with a key takes a key, as it may hold what keys alone open.
 */
export function mayTakeOver(
  { user, isTrusted, hasKey }: Pick<Pass, "user" | "isTrusted" | "hasKey">,
  owner: Owner | undefined,
): boolean {
  if (hasKey) return true;
  return owner?.hasKey !== true && (isTrusted || user === owner?.user);
}

/** Where a claim stands among those for its client id. */
interface Rank {
  /** Milliseconds since 1970, or more where the node has heard of more. */
  readonly time: number;
  /** Decides between equal times. */
  readonly node: string;
}

/** Who connects, as nodes tell each other. */
interface Claim extends Rank {
  readonly clientId: string;
  readonly user: string | undefined;
  /** Whether it may take the client id of any user. */
  readonly isTrusted: boolean;
  /** Whether it brought an API key. */
  readonly hasKey: boolean;
}

/** What a node answers to a claim. */
interface Answer {
  /** False if a connection of the node keeps the client id. */
  readonly mayTake: boolean;
  /** The time of the claim that is newer than the one asked about; left out where the id belongs to another user. */
  readonly newer?: number;
  /** Whether the newer one has the id already: whoever asks may claim it anew, with a higher rank. */
  readonly hasIt?: boolean;
}

/** A connection that claims a client id. */
export interface Claimant {
  /** Ends the connection with a reason code of MQTT 5.0. Ending it again does nothing. */
  end(reason: number, message: string): void;
  /** Resolves when its session is stored, and nothing else of it is under way. */
  readonly finished: Promise<void>;
}

/** The claim of a connection. */
export interface ClientIdClaim {
  /**
   * Resolves once the connection has the client id, after those that had it have stored their sessions; and once the
   * claim is released.
   *
   * @throws {Refusal} if the id belongs to another user, or a newer connection has it
   */
  readonly granted: Promise<void>;
  /** Gives the id up: the connection has ended. Those that follow wait until it has finished. */
  release(): void;
}

/** A claim as its node keeps it, from before others are asked until its connection has finished. */
interface Holder extends ClientIdClaim {
  claim: Claim;
  readonly connection: Claimant;
  /** Resolves when this connection and those before it have finished. */
  readonly gone: Promise<void>;
  /** Whether all that were asked have agreed. */
  hasIt: boolean;
  isReleased: boolean;
}

/** A claim that was granted, while nodes may turn up that have not agreed to it. */
interface Watched {
  readonly agreed: Set<string>;
  /** Heartbeats for which it is looked at, while there are no such nodes. */
  beats: number;
}

/** Asks nodes, and resolves to what they answered. */
type Question = (body: unknown) => Promise<ReadonlyMap<string, Outcome>>;

export interface ClientIdsOptions {
  /** The other nodes; undefined where there are none. */
  readonly cluster: Pick<Cluster, "node" | "peers" | "handle" | "call" | "callAll"> | undefined;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
  /** Milliseconds that a client waits for the other nodes; 1,000 if left out. */
  readonly deadline?: number;
  /** Runs a task at an interval in milliseconds; returns a function that stops it. */
  readonly every?: (milliseconds: number, task: () => void) => () => void;
}

export class ClientIds {
  readonly #cluster: ClientIdsOptions["cluster"];
  readonly #now: () => number;
  readonly #deadline: number;
  readonly #every: typeof repeat;
  readonly #watched = new Map<Holder, Watched>();
  #stopLooking: (() => void) | undefined;
  #isLooking = false;
  readonly #holders = new Map<string, Holder>();
  /** The highest time of a rank that this node has given or heard of. */
  #time = 0;

  /** From now on, questions of other nodes are answered. */
  constructor(
    { cluster, now = Date.now, deadline = DEADLINE_MILLISECONDS, every = repeat }: ClientIdsOptions,
  ) {
    this.#cluster = cluster;
    this.#every = every;
    this.#now = now;
    this.#deadline = deadline;
    cluster?.handle(METHOD, (body) => this.#answer(parseClaim(body, () => this.#rank())));
  }

  /** How many client ids connections of this node have, claim, or had and have not finished with. */
  get size(): number {
    return this.#holders.size;
  }

  /**
   * Claims a client id for a connection of this node, and ends the one of this node that has it.
   *
   * @throws {Refusal} if that is another user's
   */
  claim(
    clientId: string,
    { user, isTrusted, hasKey }: Pick<Pass, "user" | "isTrusted" | "hasKey">,
    connection: Claimant,
  ): ClientIdClaim {
    const claim: Claim = { clientId, user, isTrusted, hasKey, ...this.#rank() };
    const former = this.#holders.get(clientId);
    if (former?.isReleased === false && !mayTakeOver(claim, former.claim)) throw takenId();
    const holder = this.#hold(claim, connection, former?.gone);
    this.#holders.set(clientId, holder);
    if (former !== undefined) end(former, REASONS.takenOver, TAKEN_OVER);
    return holder;
  }

  /**
   * @param before resolves when those before it are gone. They themselves are not held: each would hold the one before
   * it, and so all that ever had the id.
   */
  #hold(claim: Claim, connection: Claimant, before: Promise<void> | undefined): Holder {
    const released = Promise.withResolvers<void>();
    const holder: Holder = {
      claim,
      connection,
      hasIt: false,
      isReleased: false,
      release: () => {
        holder.isReleased = true;
        this.#unwatch(holder);
        released.resolve();
      },
      gone: this.#untilGone(connection, before, () => holder),
      granted: Promise.resolve().then(() => this.#win(holder, before, released.promise)),
    };
    return holder;
  }

  async #untilGone(
    { finished }: Claimant,
    before: Promise<void> | undefined,
    self: () => Holder,
  ): Promise<void> {
    await finished;
    await before;
    const { claim: { clientId } } = self();
    if (this.#holders.get(clientId) === self()) this.#holders.delete(clientId);
  }

  async #win(holder: Holder, before: Promise<void> | undefined, released: Promise<void>): Promise<void> {
    if (before !== undefined) await Promise.race([before, released]);
    if (holder.isReleased) return;
    const cluster = this.#cluster;
    if (cluster !== undefined) {
      const asking = this.#askAndWatch(holder, new Set(), (body) => cluster.callAll(METHOD, body));
      let timer;
      const late = new Promise<void>((resolve) => timer = setTimeout(resolve, this.#deadline));
      try {
        await Promise.race([asking, late, released]);
      } finally {
        clearTimeout(timer);
      }
    }
    holder.hasIt = true;
  }

  /** The same as `#ask`. Those that have not agreed then are asked again. */
  #askAndWatch(holder: Holder, agreed: Set<string>, question: Question): Promise<void> {
    const asking = this.#ask(holder, agreed, question);
    asking.then(() => this.#watch(holder, agreed), (error) => {
      // The client was told after the deadline that it is connected.
      if (holder.hasIt) end(holder, REASONS.takenOver, error instanceof Error ? error.message : TAKEN_OVER);
    });
    return asking;
  }

  #watch(holder: Holder, agreed: Set<string>): void {
    const cluster = this.#cluster;
    if (holder.isReleased || cluster === undefined) return;
    this.#watched.set(holder, { agreed, beats: WATCHED_BEATS });
    this.#stopLooking ??= this.#every(HEARTBEAT_MILLISECONDS, () => void this.#look(cluster));
  }

  #unwatch(holder: Holder): void {
    if (!this.#watched.delete(holder) || this.#watched.size > 0) return;
    this.#stopLooking?.();
    this.#stopLooking = undefined;
  }

  /** Asks the nodes that have not agreed to claims: they did not answer in time, or were not known. In slices. */
  async #look(cluster: Pick<Cluster, "peers" | "call">): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const clock = new SliceClock();
    for (const [holder, watched] of [...this.#watched]) {
      if (clock.isOver) await clock.next();
      const { agreed } = watched;
      const nodes = cluster.peers.filter((node) => !agreed.has(node));
      if (holder.isReleased || (nodes.length === 0 && --watched.beats > 0)) continue;
      this.#unwatch(holder);
      if (nodes.length === 0) continue;
      const question: Question = async (body) => {
        const outcomes = nodes.map(async (node) => [node, await cluster.call(node, METHOD, body)] as const);
        return new Map(await Promise.all(outcomes));
      };
      this.#askAndWatch(holder, agreed, question).catch(() => {});
    }
    this.#isLooking = false;
  }

  /**
   * Asks other nodes, again with a higher rank where one has the id and a higher rank: its clock is ahead, or it was not
   * heard of. Where all are asked, nodes that are not known yet hear the claim too.
   *
   * @param agreed takes the nodes that have answered and have nobody who keeps the id
   * @throws {Refusal}
   */
  async #ask(holder: Holder, agreed: Set<string>, question: Question): Promise<void> {
    while (!holder.isReleased) {
      const outcomes = await question({ ...holder.claim, user: holder.claim.user ?? null });
      const against: Answer[] = [];
      for (const [node, outcome] of outcomes) {
        const answer = outcome.kind === "answered" ? parseAnswer(outcome.body) : undefined;
        if (answer?.mayTake === false) against.push(answer);
        else if (outcome.kind !== "silent") agreed.add(node);
      }
      for (const { newer = 0 } of against) this.#hear(newer);
      if (holder.isReleased || against.length === 0) return;
      if (against.some(({ newer }) => newer === undefined)) throw takenId();
      if (against.some(({ hasIt }) => hasIt !== true)) throw supersededClaim();
      holder.claim = { ...holder.claim, ...this.#rank() };
    }
  }

  /** Answers another node. Resolves once no connection of this one has the id, or one of them keeps it. */
  async #answer(asked: Claim): Promise<Answer> {
    this.#hear(asked.time);
    const { clientId } = asked;
    for (
      let holder = this.#holders.get(clientId);
      holder !== undefined;
      holder = this.#holders.get(clientId)
    ) {
      const refusal = holder.isReleased ? undefined : contest(asked, holder);
      if (refusal !== undefined) return refusal;
      await holder.gone;
    }
    return { mayTake: true };
  }

  /** A rank above all that this node has given or heard of. */
  #rank(): Rank {
    this.#time = Math.max(this.#now(), this.#time + 1);
    return { time: this.#time, node: this.#cluster?.node ?? "" };
  }

  #hear(time: number): void {
    this.#time = Math.max(this.#time, time);
  }
}

/**
 * Decides between a claim of another node and one of this, which it ends if that loses. Of two claims the newer one
 * wins, unless it may not take over from the older.
 *
 * @returns what to answer if the one of this node stays
 */
function contest(asked: Claim, holder: Holder): Answer | undefined {
  const { claim } = holder;
  if (isNewer(asked, claim)) {
    if (!mayTakeOver(asked, claim)) return { mayTake: false };
    end(holder, REASONS.takenOver, TAKEN_OVER);
  } else if (holder.hasIt) {
    return mayTakeOver(asked, claim)
      ? { mayTake: false, newer: claim.time, hasIt: true }
      : { mayTake: false };
  } else {
    if (mayTakeOver(claim, asked)) return { mayTake: false, newer: claim.time };
    end(holder, REASONS.badClientId, takenId().message);
  }
  return undefined;
}

function end(holder: Holder, reason: number, message: string): void {
  holder.release();
  holder.connection.end(reason, message);
}

function isNewer(one: Rank, other: Rank): boolean {
  return one.time === other.time ? one.node > other.node : one.time > other.time;
}

function parseAnswer(body: unknown): Answer {
  const { mayTake, newer, hasIt } = (body ?? {}) as Partial<Record<keyof Answer, unknown>>;
  return {
    mayTake: mayTake !== false,
    ...Number.isSafeInteger(newer) && { newer: newer as number },
    hasIt: hasIt === true,
  };
}

/** @param rankNewest the rank of a claim without one: it is of a node of version 0.2.0, where the newest always wins */
function parseClaim(body: unknown, rankNewest: () => Rank): Claim {
  const { clientId, user, isTrusted, hasKey, time, node } = (body ?? {}) as Partial<
    Record<keyof Claim, unknown>
  >;
  if (typeof clientId !== "string" || (user !== null && typeof user !== "string")) {
    throw new MessagingError("bad_request", "A take-over names a client id and a user");
  }
  const isRanked = Number.isSafeInteger(time) && typeof node === "string";
  return {
    clientId,
    user: user ?? undefined,
    isTrusted: isTrusted === true,
    hasKey: hasKey === true,
    ...isRanked ? { time: time as number, node } : rankNewest(),
  };
}
