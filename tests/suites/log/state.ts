/** What an engine keeps beside messages: state by key, and the markers of drafts. Part of `log_suite.ts`. */
import assert from "node:assert/strict";
import { type TestLog, toText } from "./bench.ts";

export function testState(test: TestLog): void {
  test("state.write() succeeds for one of two writers of the same revision", async ({ log }) => {
    const { state } = log;
    assert.ok(state !== undefined);
    assert.equal(await state.read("a"), undefined);
    const first = await state.write("a", "1", 0);
    assert.ok(first !== undefined && first > 0);
    assert.equal(await state.write("a", "other", 0), undefined);
    const second = await state.write("a", "2\u00e9", first);
    assert.ok(second !== undefined && second !== first);
    assert.equal(await state.write("a", "late", first), undefined);
    assert.deepEqual(await state.read("a"), { value: "2\u00e9", revision: second });
    assert.ok(await state.write("b", "other key", 0));
    assert.deepEqual(await state.read("a"), { value: "2\u00e9", revision: second });
  });

  test("state.delete() removes the revision it names only, and no revision comes twice", async ({ log }) => {
    const { state } = log;
    assert.ok(state !== undefined);
    assert.equal(await state.delete("d", 1), false);
    assert.equal(await state.delete("d", 0), false);
    const first = await state.write("d", "1", 0);
    assert.ok(first !== undefined);
    const second = await state.write("d", "2", first);
    assert.ok(second !== undefined);
    assert.equal(await state.delete("d", first), false);
    assert.equal(await state.delete("d", second), true);
    assert.equal(await state.delete("d", second), false);
    assert.equal(await state.read("d"), undefined);
    assert.equal(await state.write("d", "of a removed one", second), undefined);
    const again = await state.write("d", "again", 0);
    assert.ok(again !== undefined && again !== first && again !== second);
    assert.equal(await state.write("d", "of an earlier life", first), undefined);
    assert.equal(await state.delete("d", second), false);
    assert.deepEqual(await state.read("d"), { value: "again", revision: again });
  });

  test("state.delete() removes a value for one of those who try at a time", async ({ log }) => {
    const { state } = log;
    assert.ok(state !== undefined);
    for (let round = 0; round < 10; round++) {
      const key = `e${round}`;
      const revision: number | undefined = await state.write(key, "x", 0);
      // Not the newest of them all, which is another case for some engines.
      await state.write(`${key}-later`, "x", 0);
      assert.ok(revision !== undefined);
      const tries = Array.from({ length: 4 }, (): Promise<boolean> => state.delete(key, revision));
      const outcomes: boolean[] = await Promise.all(tries);
      assert.deepEqual(outcomes.filter((isRemoved) => isRemoved), [true]);
    }
  });

  test("A draft whose marker is there is not stored again, until the marker is deleted", async ({ log, announced }) => {
    const { state } = log;
    assert.ok(state !== undefined);
    const draft = { channel: "marked", payload: toText("one"), marker: "mark-1" };
    // Both in one turn.
    const [first, second] = await Promise.all([log.append(draft), log.append(draft)]);
    assert.equal(first?.duplicate, false);
    assert.deepEqual(second, { ...first, duplicate: true });
    const other = await log.append({ ...draft, payload: toText("another") });
    assert.deepEqual(other, { ...first, duplicate: true });
    assert.deepEqual(await log.append({ ...draft, channel: "elsewhere" }), { ...first, duplicate: true });
    const entry = await state.read("mark-1");
    assert.ok(entry !== undefined);
    assert.equal(await state.delete("mark-1", entry.revision), true);
    const again = await log.append(draft);
    assert.deepEqual([again.offset, again.duplicate], [2, false]);
    assert.equal(announced.length, 2);
  });

  test("Markers keep the order of drafts, and count for transient ones", async ({ log, announced }) => {
    const drafts = Array.from({ length: 20 }, (_, i) => ({
      channel: "marked",
      payload: toText(`${i}`),
      marker: `mark-${i}`,
      ...(i % 5 === 4 ? { ephemeral: true } : {}),
    }));
    await Promise.all(drafts.map((draft) => log.append(draft)));
    const repeated = await Promise.all(drafts.map((draft) => log.append(draft)));
    assert.ok(repeated.every(({ duplicate }) => duplicate));
    assert.deepEqual(announced.map(({ payload }) => payload), drafts.map(({ payload }) => payload));
  });

  test("A draft with a marker and a key is stored unless either was seen", async ({ log, announced }) => {
    const draft = { channel: "marked", payload: toText("one"), idempotencyKey: "key", fingerprint: "f" };
    const first = await log.append({ ...draft, marker: "mark-1" });
    assert.equal(first.duplicate, false);
    const seen = { ...first, duplicate: true };
    assert.deepEqual(await log.append({ ...draft, marker: "mark-2" }), seen, "its key was seen");
    for (const marker of ["mark-1", "mark-2"]) {
      const other = { ...draft, idempotencyKey: "another", marker };
      assert.deepEqual(await log.append(other), seen, `${marker} was seen`);
    }
    assert.equal(
      (await log.append({ ...draft, idempotencyKey: "another", marker: "mark-3" })).duplicate,
      false,
    );
    assert.equal(announced.length, 2);
  });

  test(
    "A draft that is refused leaves no marker",
    async ({ log }) => {
      for (let i = 0; i < 3; i++) await log.append({ channel: `full-${i}`, payload: toText("") });
      const refused = log.append({ channel: "one-too-many", payload: toText(""), marker: "mark" });
      await assert.rejects(refused, { code: "too_many_channels" });
      assert.equal(await log.state?.read("mark"), undefined);
    },
    [],
    { maxChannels: 3 },
  );

  test("state.list() finds the entries of a prefix, however many", async ({ log }) => {
    const { state } = log;
    assert.ok(state !== undefined);
    const list = async (prefix: string) => {
      const found = new Map<string, string>();
      for await (const { key, value, revision } of state.list(prefix)) {
        assert.deepEqual(await state.read(key), { value, revision });
        assert.ok(!found.has(key));
        found.set(key, value);
      }
      return found;
    };
    assert.deepEqual(await list("list-"), new Map());
    const expected = new Map(
      Array.from({ length: 230 }, (_, i) => [`list-${i}${"z".repeat(i % 3)}`, `value ${i}`]),
    );
    await Promise.all([...expected].map(([key, value]) => state.write(key, value, 0)));
    for (const key of ["list", "lisu-", "lis", "list_", "LIST-1"]) await state.write(key, "outside", 0);
    const sort = (entries: Iterable<[string, string]>) => [...entries].sort();
    assert.deepEqual(sort(await list("list-")), sort(expected));
    assert.deepEqual(
      sort(await list("list-1z")),
      sort([...expected].filter(([key]) => key.startsWith("list-1z"))),
    );
    const removed = await state.read("list-0");
    assert.ok(removed !== undefined && await state.delete("list-0", removed.revision));
    assert.equal((await list("list-")).size, 229);
  });
}
