/** The order of what is scheduled, whatever is added and removed, and whoever sets the clock. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Pool } from "../../../lib/core/pool.ts";
import { Shares } from "../../../lib/core/shares.ts";
import { Agenda, type Item } from "../../../lib/core/schedule/agenda.ts";
import { FakeClock } from "../../fakes/clock.ts";

function createAgenda() {
  const wall = new FakeClock();
  const steady = new FakeClock();
  const pool = new Pool({ maxCount: Infinity, shares: new Shares() });
  const agenda = new Agenda({ now: wall.now, steadyNow: steady.now }, pool);
  const pass = (seconds: number) => {
    wall.advance(seconds);
    steady.advance(seconds);
  };
  return { wall, agenda, pool, pass };
}

function createItem(id: string, due: number, more: Partial<Item> = {}): Item {
  return { id, channel: "news", due, isRelative: false, created: 0, bytes: 1, ...more };
}

Deno.test("What is due comes in the order of its time, then in that in which it was scheduled", () => {
  const item = fc.record({
    due: fc.integer({ min: 0, max: 20 }),
    isRelative: fc.boolean(),
    isRemoved: fc.boolean(),
    isPostponed: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(item), (specs) => {
    const { agenda, pool, wall, pass } = createAgenda();
    const start = wall.now();
    const items = specs.map(({ due, isRelative }, i) =>
      createItem(String(i), start + due * 1_000, { isRelative, created: i })
    );
    for (const added of items) agenda.add(added);
    specs.forEach(({ isRemoved, isPostponed }, i) => {
      if (isPostponed) agenda.postpone(String(i), 60_000);
      if (isRemoved) agenda.remove(String(i));
    });
    pass(10);
    const expected = items.filter((added, i) =>
      !specs[i]!.isRemoved && !specs[i]!.isPostponed && added.due <= wall.now()
    ).sort((a, b) => a.due - b.due || a.created - b.created);
    assert.deepEqual(agenda.takeDue(Infinity), expected);
    assert.deepEqual(agenda.takeDue(2), expected.slice(0, 2));
    assert.equal(agenda.size, specs.filter(({ isRemoved }) => !isRemoved).length);
    assert.deepEqual([pool.size, pool.bytes], [agenda.size, agenda.size]);
  }));
});

Deno.test("A clock that is set moves a message with a time, and not one with a delay", () => {
  const { agenda, wall, pass } = createAgenda();
  const start = wall.now();
  agenda.add(createItem("timed", start + 60_000));
  agenda.add(createItem("delayed", start + 60_000, { isRelative: true }));
  wall.advance(3_600);
  assert.deepEqual(agenda.takeDue(9).map(({ id }) => id), ["timed"]);
  wall.advance(-7_200);
  assert.deepEqual(agenda.takeDue(9), []);
  pass(61);
  assert.deepEqual(agenda.takeDue(9).map(({ id }) => id), ["delayed"]);
});
