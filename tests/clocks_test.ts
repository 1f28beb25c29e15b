/**
 * What stands outside the engines under a system clock that somebody sets: each deadline is one of the clock (a moment that
 * somebody named) or one of time that passes, and stays that whichever way the clock jumps. Engines are in
 * `suites/log_suite.ts`.
 */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { openKeys } from "../lib/auth/keys.ts";
import { TokenVerifier } from "../lib/auth/tokens.ts";
import { Deadline } from "../lib/base/deadline.ts";
import { createSteadyClock } from "../lib/base/steady_clock.ts";
import { Presence } from "../lib/core/presence.ts";
import { Limits } from "../lib/core/limits.ts";
import { Agenda } from "../lib/core/schedule/agenda.ts";

const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);

/** Time that passes, and a system clock over it that can be set, with the timers of both. */
class Machine {
  passed = 0;
  #lead = START;
  #timers: { readonly id: number; readonly due: number; readonly task: () => void }[] = [];
  #ids = 0;

  readonly now = (): number => this.#lead + this.passed;
  readonly steadyNow = (): number => START + this.passed;
  readonly setTimer = (task: () => void, milliseconds: number): number => {
    this.#timers.push({ id: ++this.#ids, due: this.passed + milliseconds, task });
    return this.#ids;
  };
  readonly clearTimer = (timer: number | undefined): void => {
    this.#timers = this.#timers.filter(({ id }) => id !== timer);
  };

  /** Somebody sets the clock ahead, or back when negative. */
  jump(milliseconds: number): void {
    this.#lead += milliseconds;
  }

  /** Lets time pass, with its timers. */
  pass(milliseconds: number): void {
    const end = this.passed + milliseconds;
    while (true) {
      const [next] = this.#timers.toSorted((a, b) => a.due - b.due || a.id - b.id);
      if (next === undefined || next.due > end) break;
      this.passed = next.due;
      this.clearTimer(next.id);
      next.task();
    }
    this.passed = end;
  }

  get timers(): number {
    return this.#timers.length;
  }
}

/** What holds when the clock jumps by so many milliseconds in the middle. */
type Holds = (machine: Machine, jump: number) => void | Promise<void>;

const secret = new TextEncoder().encode("a secret of thirty-two bytes or more");

const PROMISES: Readonly<Record<string, Holds>> = {
  "a deadline comes when the clock shows its moment, half a minute late at most"(machine, jump) {
    const deadline = new Deadline(machine);
    let ranAt: number | undefined;
    deadline.set(START + HOUR, () => ranAt = machine.now());
    machine.pass(600_000);
    machine.jump(jump);
    machine.pass(30_000);
    if (machine.now() < START + HOUR) {
      assert.equal(ranAt, undefined, "not before");
      machine.pass(START + HOUR - machine.now());
    }
    const late = ranAt! - (START + HOUR);
    assert.ok(late >= 0 && late <= Math.max(0, jump) + 30_000, `${late} ms late`);
    assert.equal(machine.timers, 0);
  },

  "a deadline after a duration comes when that has passed"(machine, jump) {
    for (const duration of [HOUR, 2 ** 32]) {
      const deadline = new Deadline(machine);
      const start = machine.passed;
      let ranAt: number | undefined;
      deadline.setAfter(duration, () => ranAt = machine.passed);
      machine.pass(600_000);
      machine.jump(jump);
      machine.pass(duration);
      assert.equal(ranAt, start + duration);
    }
  },

  async "a token counts until its exp by the clock, and not again when it is set ahead"(machine, jump) {
    const keys = openKeys([{ kind: "secret", secret: new TextDecoder().decode(secret) }]);
    const verifier = new TokenVerifier({ keys, now: machine.now });
    const token = await new SignJWT({ sub: "ann" }).setProtectedHeader({ alg: "HS256" })
      .setExpirationTime(START / 1_000 + 3_600).sign(secret);
    assert.equal((await verifier.verifyConnectionToken(token)).kind, "valid");
    machine.pass(600_000);
    machine.jump(jump);
    const { kind } = await verifier.verifyConnectionToken(token);
    assert.equal(kind, machine.now() < START + HOUR ? "valid" : "expired");
  },

  "a rate gives out its burst and what time has passed for, never more or less"(machine, jump) {
    for (const now of [machine.steadyNow, createSteadyClock(machine.now), machine.now]) {
      const bound = { value: 1, sparesLoopback: false };
      const limits = new Limits({
        maxConnections: 10,
        maxConnectionsPerAddress: { value: 10, sparesLoopback: false },
        maxPublishRate: bound,
        maxPublishRatePerAddress: { value: Infinity, sparesLoopback: false },
        publishBurst: 5,
      }, now);
      const connection = limits.connect("192.0.2.1");
      const count = () => {
        let published = 0;
        try {
          for (; published < 100; published++) connection.countPublish();
        } catch {
          // It was one too many.
        }
        return published;
      };
      assert.equal(count(), 5);
      machine.jump(jump);
      // A clock that is set ahead is time that passes, to whoever has no other; it gives the burst at most.
      const first = count();
      assert.ok(first === 0 || (first === 5 && jump > 0 && now !== machine.steadyNow), `${first} at once`);
      machine.pass(3_000);
      assert.equal(count(), 3, "a clock that is set back takes nothing away");
    }
  },

  "a scheduled message with a delay comes after it, one with a time by the clock, a retry after its pause"(
    machine,
    jump,
  ) {
    const agenda = new Agenda(machine);
    const item = { channel: "news", due: START + HOUR, created: START, bytes: 1 };
    agenda.add({ ...item, id: "delayed", isRelative: true }, HOUR);
    agenda.add({ ...item, id: "timed", isRelative: false });
    agenda.add({ ...item, id: "failed", isRelative: false, due: START });
    agenda.postpone("failed", 1_000);
    const due = () => agenda.takeDue(9).map(({ id }) => id).sort();
    machine.pass(500);
    machine.jump(jump);
    const timed = () => machine.now() >= START + HOUR ? ["timed"] : [];
    assert.deepEqual(due(), timed());
    machine.pass(500);
    assert.deepEqual(due(), ["failed", ...timed()]);
    agenda.remove("failed");
    machine.pass(HOUR - 1_001);
    assert.deepEqual(due(), timed());
    machine.pass(1);
    assert.deepEqual(due(), ["delayed", ...timed()]);
    agenda.remove("delayed");
    if (timed().length === 0) {
      assert.equal(agenda.wait, START + HOUR - machine.now());
      machine.pass(agenda.wait);
      assert.deepEqual(due(), ["timed"]);
    }
  },

  "who is present stays so, under one name on all nodes"(machine, jump) {
    const connect = () => ({ id: "ann", name: undefined, protocol: "websocket", since: machine.now() });
    const first = connect();
    machine.pass(1_000);
    machine.jump(jump);
    const second = connect();
    const nodes = [[first, second], [second, first]].map((members) => {
      const presence = new Presence();
      for (const member of members) presence.join("news", member);
      return presence;
    });
    machine.jump(-2 * jump);
    const [one, other] = nodes.map((presence) => [...presence.listById("news")]);
    assert.deepEqual(one!.map(([id]) => id), ["ann", "ann#2"]);
    assert.deepEqual(one, other);
  },

  async "a key set is read again once its time has passed, and after its pause"(machine, jump) {
    let requests = 0;
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
      requests++;
      return Response.json({ keys: [] });
    });
    const url = `http://127.0.0.1:${server.addr.port}/`;
    const real = Date.now;
    Date.now = machine.now;
    try {
      using keys = openKeys([{ kind: "jwks_url", url }], { cooldown: 0.02 });
      const find = () => keys.find({ algorithm: "RS256", id: "new" });
      await find();
      machine.jump(jump);
      const start = performance.now();
      // The pause is of time that passes: the issuer's new key is found after it.
      while (performance.now() - start < 25) await new Promise((resolve) => setTimeout(resolve, 5));
      await find();
      assert.equal(requests, 2);
    } finally {
      Date.now = real;
    }
  },
};

const JUMPS: Readonly<Record<string, number>> = {
  "is not set": 0,
  "is set back half an hour": -HOUR / 2,
  "is set back a year": -365 * 24 * HOUR,
  "is set ahead half an hour": HOUR / 2,
  "is set ahead two hours": 2 * HOUR,
  "is set ahead a year": 365 * 24 * HOUR,
};

for (const [promise, hold] of Object.entries(PROMISES)) {
  for (const [name, jump] of Object.entries(JUMPS)) {
    Deno.test(`When the clock ${name}, ${promise}`, async () => {
      await hold(new Machine(), jump);
    });
  }
}
