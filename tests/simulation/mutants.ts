/**
 * Faults to plant, one at a time, in a copy of `lib/`: proof that the simulator sees. Each replaces a text that stands
 * exactly once in its file; where a change of the code makes one stale, the test says which.
 */

export interface Mutant {
  /** What the planted fault does. */
  readonly name: string;
  /** Below `lib/`. */
  readonly file: string;
  readonly old: string;
  readonly new: string;
  /** Where it can be seen: with the memory engine, or in a cluster over JetStream alone. */
  readonly site: "memory" | "cluster";
}

type Planted = Omit<Mutant, "site">;

const ANYWHERE: readonly Planted[] = [
  {
    name: "skip the hold: live messages overtake a replay",
    file: "core/subscription.ts",
    old: "if (this.#buffer !== undefined) this.#buffer.add(messages);\n    else if (",
    new: "if (",
  },
  {
    name: "release one held message twice",
    file: "core/replay.ts",
    old: "message.sequence === 0 || message.sequence > sequence",
    new: "message.sequence === 0 || message.sequence >= sequence",
  },
  {
    name: "go live although the hold has overflowed",
    file: "core/replay.ts",
    old: "if (this.#overflowed) return undefined;",
    new: "if (this.#overflowed) return [];",
  },
  {
    name: "leave a slow subscriber out instead of ending it",
    file: "core/subscription.ts",
    old: "#cutOff(): void {\n",
    new: "#cutOff(): void {\n    if (this.client.echo !== undefined) return;\n",
  },
  {
    name: "deliver before storing",
    file: "core/publisher.ts",
    old: "return this.#append(draft).then((receipt) => {",
    new:
      `audience.deliver([{ ...draft, ...this.#options.log.top, offset: 0, time: 0, event: draft.event, from: draft.from,
      socketId: draft.socketId, to: draft.to }]);
    return this.#append(draft).then((receipt) => {`,
  },
  {
    name: "send a direct message to all who are subscribed",
    file: "core/hub.ts",
    old: "const clients = this.#clients.withId(to);",
    new: "const clients = new Set(this.#clients.all);",
  },
  {
    name: "forget an idempotency key when there is another",
    file: "engines/memory/engine.ts",
    old: "const first = key === undefined ? undefined : this.#receipts.get(key);",
    new: "const first = key === undefined || this.#receipts.size > 1 ? undefined : this.#receipts.get(key);",
  },
  {
    name: "take another message for a retry",
    file: "engines/memory/engine.ts",
    old: "first.fingerprint === fingerprintOf(draft)",
    new: "first.fingerprint.length > 0",
  },
  {
    name: "sweep a live record: its ttl has not passed",
    file: "engines/memory/engine.ts",
    old: "expires !== undefined && expires <= now;",
    new: "expires !== undefined && expires <= now + 1_000;",
  },
  {
    name: "tell of no gap",
    file: "engines/forgotten.ts",
    old: "? ghost.removedSequence > Math.max(",
    new: "? -1 > Math.max(",
  },
  {
    name: "leave the newest message when a channel is cleared",
    file: "engines/memory/engine.ts",
    old: "this.#remove(channel, count)",
    new: "this.#remove(channel, Math.max(0, count - 1))",
  },
  {
    name: "keep the oldest message of a sender where the newest counts",
    file: "core/subscription.ts",
    old: "this.#pending.delete(key);\n      this.#pending.set(key, message);",
    new: "if (!this.#pending.has(key)) this.#pending.set(key, message);",
  },
  {
    name: "give senders their own messages back",
    file: "core/fan_out.ts",
    old: "messages.filter((message) => message.socketId !== socket.id)",
    new: "messages.filter((message) => message.socketId !== undefined)",
  },
  {
    name: "lose a leave",
    file: "core/hub.ts",
    old: "if (channel !== undefined) this.presence.leave(channel, member);",
    new: "if (channel !== undefined && subscriptions.size > 1) this.presence.leave(channel, member);",
  },
  {
    name: "keep a connection counted after its end",
    file: "http/connections.ts",
    old: "this.#connection.release();\n    if (code",
    new: "if (code",
  },
  {
    name: "ask nobody whether a socket may publish",
    file: "protocols/url/plain.ts",
    old: 'if (target !== undefined && !isAsked) pass.demand("publish", target);',
    new: "",
  },
];

const IN_CLUSTERS: readonly Planted[] = [
  {
    name: "number on publish: the offset is what the publisher knew",
    file: "engines/jetstream/state.ts",
    old: "const offset = channel.offset + 1;",
    new: "const offset = head.known.offset + 1;",
  },
  {
    name: "forget an idempotency key at once, in the stream",
    file: "engines/jetstream/state.ts",
    old: "clock - known.clock >= IDEMPOTENCY_MILLISECONDS ? undefined",
    new: "clock - known.clock >= 1 ? undefined",
  },
  {
    name: "ignore a DELETE that comes by the stream",
    file: "engines/jetstream/state.ts",
    old: 'return { kind: "cleared", count: this.#clear(channel, sequence), offset };',
    new: 'return { kind: "cleared", count: 0, offset };',
  },
  {
    name: "take a position of another node for one that cannot be",
    file: "engines/jetstream/lookups.ts",
    old: 'if (after.kind === "id") return after.epoch === state.epoch && after.sequence > state.sequence;',
    new: 'if (after.kind === "id") return false;',
  },
  {
    name: "keep the state after records were purged unseen",
    file: "engines/jetstream/link.ts",
    old: "if (state?.epoch !== opened.epoch || this.#hasMissed) {",
    new: "if (state?.epoch !== opened.epoch) {",
  },
  {
    name: "take the old answer of a deposed leader for a loss",
    file: "engines/jetstream/link.ts",
    old: "const confirmed = await openConfirmed({ ...this.#options, connection, manager, clock });",
    new: "const confirmed = { opened, end: opened.last, clock };",
  },
  {
    name: "take what a follower has that is behind for the whole stream",
    file: "engines/jetstream/link.ts",
    old: "if (end >= last) return done.resolve();",
    new: "return done.resolve();",
  },
  {
    name: "purge a live record from the server",
    file: "engines/jetstream/sweeper.ts",
    old: "await this.#purge(manager, subjects.messages(channel.name), record);",
    new: "await this.#purge(manager, subjects.messages(channel.name), record + 1);",
  },
  {
    name: "lose a leave on the way to other nodes",
    file: "core/cluster/cluster.ts",
    old:
      'const key = this.#entries.remove(client);\n    if (key !== undefined) this.#turn.add(["gone", key]);',
    new: "this.#entries.remove(client);",
  },
  {
    name: "apply the changes of a node although some are missing",
    file: "core/cluster/replica.ts",
    old: "if (sequence > this.#sequence + 1) {",
    new: "if (sequence > this.#sequence + 1_000) {",
  },
  {
    name: "keep the clients of a dead node",
    file: "core/cluster/cluster.ts",
    old: "if (now - peer.heardAt >= SILENCE_MILLISECONDS && ",
    new: "if (now - peer.heardAt >= 1_000 * SILENCE_MILLISECONDS && ",
  },
];

export const MUTANTS: readonly Mutant[] = [
  ...ANYWHERE.map((mutant) => ({ ...mutant, site: "memory" as const })),
  ...IN_CLUSTERS.map((mutant) => ({ ...mutant, site: "cluster" as const })),
];
