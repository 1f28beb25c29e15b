import assert from "node:assert/strict";
import { RecordFetches } from "../../../lib/engines/jetstream/fetches.ts";
import type { Content } from "../../../lib/engines/jetstream/record.ts";

/** Fetches that the test ends one by one. */
class HeldFetches {
  readonly started: number[] = [];
  readonly #ends = new Map<number, PromiseWithResolvers<readonly Content[] | undefined>>();

  readonly fetch = (record: number): Promise<readonly Content[] | undefined> => {
    const end = Promise.withResolvers<readonly Content[] | undefined>();
    this.started.push(record);
    this.#ends.set(record, end);
    return end.promise;
  };

  end(record: number, error?: Error): void {
    if (error === undefined) this.#ends.get(record)!.resolve([]);
    else this.#ends.get(record)!.reject(error);
  }
}

Deno.test("RecordFetches fetches few records at once, in the order they were asked for", async () => {
  const held = new HeldFetches();
  const fetches = new RecordFetches(held.fetch);
  const asked = Array.from({ length: 100 }, (_, i) => i);
  const answers = asked.map((record) => fetches.get(record));
  const most = held.started.length;
  assert.ok(most < 50, `${most} at once`);
  for (const record of asked) {
    // An error leaves its place to the next one, too.
    held.end(record, record % 2 === 0 ? undefined : new Error("away"));
    await answers[record]!.catch(() => {});
    assert.equal(held.started.length, Math.min(most + record + 1, asked.length));
  }
  assert.deepEqual(held.started, asked);
});

Deno.test("RecordFetches fetches a record once for all who ask for it meanwhile, and anew for who asks later", async () => {
  const held = new HeldFetches();
  const fetches = new RecordFetches(held.fetch);
  const both = [fetches.get(7), fetches.get(7)];
  assert.deepEqual(held.started, [7]);
  held.end(7, new Error("away"));
  for (const answer of both) await assert.rejects(answer, /away/);
  const later = fetches.get(7);
  held.end(7);
  assert.deepEqual(await later, []);
  assert.deepEqual(held.started, [7, 7]);
});
