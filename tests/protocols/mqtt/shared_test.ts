/** Shared subscriptions over threads: each message has one member, in whatever order threads hear of each other. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Message } from "../../../lib/core/message.ts";
import { type GroupMember, SharedGroups } from "../../../lib/protocols/mqtt/shared.ts";
import { type SeatAsk, SeatDesk, type SeatWord } from "../../../lib/protocols/mqtt/shared_desk.ts";
import { parseFilter } from "../../../lib/protocols/mqtt/topics.ts";
import { createMessage } from "../../fakes/message.ts";

const FILTER = "$share/g/jobs/#";
const isProtected = (channel: string) => channel.endsWith("private");

/** Threads that hear what the desk says and what is stored in one order, each in its own time. */
class Threads {
  readonly #desk = new SeatDesk({
    isProtected,
    tell: (word) => this.#tellAll(JSON.parse(JSON.stringify(word))),
  });
  readonly #threads: {
    readonly groups: SharedGroups;
    readonly inbox: (SeatWord | Message)[];
    readonly asks: SeatAsk[];
    readonly members: Set<GroupMember>;
  }[];
  /** Who got each message, by the id of the member. */
  readonly taken = new Map<string, string[]>();
  readonly #ids = new Map<GroupMember, string>();
  readonly #joined = new Set<GroupMember>();
  #count = 0;

  constructor(count: number) {
    this.#threads = Array.from({ length: count }, (_, i) => {
      const asks: SeatAsk[] = [];
      const ask = (ask: SeatAsk) => void asks.push(ask);
      const groups = new SharedGroups({
        node: `n${i}`,
        isProtected,
        isSpread: true,
        ask,
        watch: () => () => {},
      });
      return { groups, asks, inbox: [], members: new Set<GroupMember>() };
    });
  }

  /** @param isRestricted whether it may not read private channels */
  join(thread: number, isRestricted: boolean): void {
    const { groups, members } = this.#threads[thread]!;
    const id = `${thread}.${++this.#count}${isRestricted ? " restricted" : ""}`;
    const { selector } = parseFilter(FILTER);
    const member: GroupMember = {
      filter: FILTER,
      selector: isRestricted ? { ...selector, hides: isProtected } : selector,
      onJoined: () => this.#joined.add(member),
      take: (message) => this.#take(id, message),
    };
    members.add(member);
    this.#ids.set(member, id);
    groups.join(member);
  }

  leave(thread: number): void {
    const { groups, members } = this.#threads[thread]!;
    const [member] = members;
    if (member === undefined) return;
    members.delete(member);
    this.#joined.delete(member);
    groups.leave(member);
  }

  publish(channel: string): void {
    const text = `${channel} ${++this.#count}`;
    this.taken.set(text, []);
    for (const { inbox } of this.#threads) {
      inbox.push(createMessage(text, { channel }));
    }
  }

  /** The desk takes what a thread has asked next. */
  decide(thread: number): boolean {
    const ask = this.#threads[thread]!.asks.shift();
    if (ask !== undefined) this.#desk.hear(JSON.parse(JSON.stringify(ask)));
    return ask !== undefined;
  }

  /** A thread hears what comes next. */
  hear(thread: number): boolean {
    const { inbox, groups, members } = this.#threads[thread]!;
    const next = inbox.shift();
    if (next === undefined) return false;
    if ("kind" in next) groups.hear(next);
    else {
      groups.observe([next]);
      for (const member of members) {
        if (this.#joined.has(member) && groups.isChosen(member, next)) {
          this.#take(this.#ids.get(member)!, next);
        }
      }
    }
    return true;
  }

  /** Everything is heard. */
  settle(): void {
    let isBusy = true;
    while (isBusy) {
      isBusy = false;
      for (const i of this.#threads.keys()) if (this.hear(i) || this.decide(i)) isBusy = true;
    }
  }

  #take(id: string, { payload }: Message): void {
    assert(payload.kind === "text");
    this.taken.get(payload.text)!.push(id);
  }

  #tellAll(word: SeatWord): void {
    for (const { inbox } of this.#threads) inbox.push(word);
  }
}

const thread = fc.nat(2);
const step = fc.oneof(
  fc.record({ do: fc.constant("join" as const), thread, isRestricted: fc.boolean() }),
  fc.record({ do: fc.constant("leave" as const), thread }),
  fc.record({
    do: fc.constant("publish" as const),
    channel: fc.constantFrom("jobs/a", "jobs/private", "jobs"),
  }),
  fc.record({ do: fc.constant("decide" as const), thread }),
  fc.record({ do: fc.constant("hear" as const), thread }),
);

Deno.test("a shared subscription gives each message to one member that may read it, whatever threads hear when", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const threads = new Threads(3);
      // One member stays, on a thread where nobody leaves, so that there is always one.
      threads.join(2, false);
      threads.settle();
      for (const one of steps) {
        if (one.do === "join") threads.join(one.thread, one.isRestricted);
        else if (one.do === "leave" && one.thread < 2) threads.leave(one.thread);
        else if (one.do === "publish") threads.publish(one.channel);
        else if (one.do === "decide") threads.decide(one.thread);
        else if (one.do === "hear") threads.hear(one.thread);
      }
      threads.settle();
      for (const [text, takers] of threads.taken) {
        assert.equal(takers.length, 1, `${text} went to [${takers}]`);
        assert.ok(
          !(text.startsWith("jobs/private") && takers[0]!.endsWith("restricted")),
          `${text}: ${takers}`,
        );
      }
    }),
    { numRuns: 2_000 },
  );
});
