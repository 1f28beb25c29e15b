/** The channels that lists and patterns select: the right ones, in slices, within a limit in bytes. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { matchesSelector, selectPatterns } from "../../lib/core/channel.ts";
import { type Selectable, Selections } from "../../lib/core/selections.ts";

class Channels {
  all: Selectable[] = [];
  forgets = 0;
  lookups = 0;
  #id = 0;
  readonly #byName = new Map<string, Selectable>();

  add(name: string): void {
    if (this.#byName.has(name)) return;
    const channel = { name, id: ++this.#id };
    this.all.push(channel);
    this.#byName.set(name, channel);
  }

  forget(names: readonly string[]): void {
    for (const name of names) this.#byName.delete(name);
    this.all = this.all.filter((channel) => this.#byName.get(channel.name) === channel);
    this.forgets++;
  }

  get(name: string): Selectable | undefined {
    this.lookups++;
    return this.#byName.get(name);
  }
}

const segment = fc.constantFrom("a", "b", "c");
const name = fc.array(segment, { minLength: 1, maxLength: 3 }).map((segments) => segments.join("/"));
const pattern = fc.array(fc.constantFrom("a", "b", "*"), { minLength: 1, maxLength: 3 }).chain((segments) =>
  fc.boolean().map((deep) => (deep ? [...segments, "**"] : segments).join("/"))
);

Deno.test("Selections.select() agrees with matchesSelector() on any list, also of channels that come and go", async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(fc.oneof(name, pattern), { minLength: 1, maxLength: 5 }),
    fc.array(name, { maxLength: 20 }),
    fc.array(name, { maxLength: 20 }),
    fc.array(name, { maxLength: 20 }),
    async (names, before, after, gone) => {
      const plain = selectPatterns(names);
      if (plain.channel !== undefined) return;
      const selector = { ...plain, hides: (channel: string) => channel.startsWith("c/b") };
      const channels = new Channels();
      const selections = new Selections(channels);
      const check = async () => {
        const { channels: found } = await selections.select(selector);
        const expected = channels.all.filter((channel) => matchesSelector(selector, channel.name));
        assert.deepEqual(new Set(found), new Set(expected));
        assert.equal(found.length, expected.length);
      };
      before.forEach((added) => channels.add(added));
      await check();
      after.forEach((added) => channels.add(added));
      await check();
      channels.forget(gone);
      // Some of them come back, and are other channels.
      [...gone.slice(5), ...before].forEach((added) => channels.add(added));
      await check();
      channels.forget([...before, ...after]);
      await check();
      after.forEach((added) => channels.add(added));
      await check();
    },
  ));
});

Deno.test("Selections looks names up, however many channels there are", async () => {
  const channels = new Channels();
  for (let i = 0; i < 10_000; i++) channels.add(`c${i}`);
  const names = Array.from({ length: 100 }, (_, i) => `c${i * 150}`);
  const { channels: found } = await new Selections(channels).select(selectPatterns(names));
  assert.equal(channels.lookups, 100);
  assert.equal(found.length, 67);
});

Deno.test("Selections lets others go first while it looks at many channels", async () => {
  const channels = new Channels();
  for (let i = 0; i < 200_000; i++) channels.add(`room/${i}/a/b`);
  const selector = selectPatterns(Array.from({ length: 500 }, (_, i) => `*/${i}/*/b`));
  const selections = new Selections(channels);
  const start = performance.now();
  let longest = 0;
  let last = performance.now();
  const watch = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  const [first, second] = await Promise.all([selections.select(selector), selections.select(selector)]);
  clearInterval(watch);
  assert.equal(first.channels.length, 500);
  assert.equal(second, first);
  const total = performance.now() - start;
  // In one piece it would be all of the time, on a busy machine, too.
  assert.ok(longest < Math.max(40, total / 4), `the loop was held for ${longest} ms of ${total}`);
});

Deno.test("Selections finds all that is left when channels go while it looks at them", async () => {
  const channels = new Channels();
  for (let i = 0; i < 50_000; i++) channels.add(`room/${i}`);
  const looking = new Selections(channels).select(selectPatterns(["*/*"]));
  assert.ok(looking instanceof Promise);
  let turns = 0;
  const timer = setInterval(() => {
    if (turns === 10) return;
    channels.forget([`room/${turns}`, `room/${49_999 - turns}`]);
    channels.add(`late/${turns++}`);
  }, 0);
  const selection = await looking;
  clearInterval(timer);
  assert.ok(turns > 0);
  assert.deepEqual(new Set(selection.channels), new Set(channels.all));
});

Deno.test("Selections forgets what was not asked for lately, beyond its limit in bytes", async () => {
  const channels = new Channels();
  for (let i = 0; i < 1_000; i++) channels.add(`c${i}`);
  const selections = new Selections(channels, 100_000);
  for (let i = 0; i < 1_000; i++) {
    const { channels: found } = await selections.select(selectPatterns(["**", `x${i}`]));
    assert.equal(found.length, 1_000);
    assert.ok(selections.cachedBytes <= 100_000);
  }
});
