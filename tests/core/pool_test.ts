/** Pools are bounded in all and by owner, in number and in bytes, and whoever has an API key has no share. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Place, Pool } from "../../lib/core/pool.ts";
import { digestOwner } from "../../lib/auth/owner_digest.ts";
import { Shares } from "../../lib/core/shares.ts";

const TENTH = new Shares({ value: 10, sparesLoopback: false }, digestOwner);
const NOBODY = { user: undefined, hasKey: false };

Deno.test("A share is of a user, or else of an address, and of no API key", () => {
  const ann = { user: "ann", hasKey: false };
  const owners = [
    TENTH.ownerOf("192.0.2.1", NOBODY),
    TENTH.ownerOf("192.0.2.2", NOBODY),
    TENTH.ownerOf("192.0.2.1", ann),
    TENTH.ownerOf("192.0.2.1", { user: "192.0.2.1", hasKey: false }),
    TENTH.ownerOf("192.0.2.1", { user: "", hasKey: false }),
  ];
  assert.equal(new Set(owners).size, owners.length);
  assert.ok(
    owners.every((owner) => owner !== undefined && /^[\w-]{16}$/.test(owner)),
    "nothing of it can be read",
  );
  assert.equal(TENTH.ownerOf("192.0.2.2", ann), owners[2], "wherever the user is");
  // As for connections and rates: an IPv6 customer has a /64.
  assert.equal(TENTH.ownerOf("2001:db8::1", NOBODY), TENTH.ownerOf("2001:db8::2", NOBODY));
  assert.equal(TENTH.ownerOf("192.0.2.1", { user: undefined, hasKey: true }), undefined);
  assert.ok(TENTH.ownerOf("127.0.0.1", NOBODY) !== undefined);
  const sparing = new Shares({ value: 10, sparesLoopback: true });
  assert.equal(sparing.ownerOf("127.0.0.1", NOBODY), undefined);
  assert.equal(sparing.ownerOf("::1", ann), undefined);
  assert.equal(new Shares().ownerOf("192.0.2.1", NOBODY), undefined);
});

Deno.test("A share is a part of the pool, and at least one", () => {
  assert.deepEqual([10_000, 25, 3].map((pool) => TENTH.of(pool)), [1_000, 2, 1]);
  assert.equal(new Shares({ value: 100, sparesLoopback: false }).of(7), 7);
});

Deno.test("A pool says what there is too little of, and for whom", () => {
  const pool = new Pool({ maxCount: 20, maxBytes: 1_000, shares: TENTH });
  const ann = { owner: "ann", bytes: 40 };
  pool.add(ann);
  assert.deepEqual(pool.findShortage({ owner: "ann", bytes: 61 }), {
    unit: "bytes",
    limit: 100,
    isShare: true,
  });
  assert.equal(pool.findShortage({ owner: "ann", bytes: 61 }, ann), undefined, "in its place there is room");
  pool.add(ann);
  assert.deepEqual(pool.findShortage(ann), { unit: "count", limit: 2, isShare: true });
  assert.equal(pool.findShortage({ owner: "bob", bytes: 40 }), undefined);
  assert.deepEqual(
    pool.findShortage({ owner: "bob", bytes: 101 }, ann),
    { unit: "bytes", limit: 100, isShare: true },
    "what takes the place of another's is one's own",
  );
  for (let i = 0; i < 18; i++) pool.add({ owner: undefined, bytes: 1 });
  assert.deepEqual(pool.findShortage({ owner: "bob", bytes: 1 }), {
    unit: "count",
    limit: 20,
    isShare: false,
  });
  pool.remove(ann);
  assert.equal(pool.findShortage(ann), undefined);
});

Deno.test("However things come and go, a pool counts what is in it", () => {
  const place = fc.record({
    owner: fc.constantFrom(undefined, "ann", "bob", "cid"),
    bytes: fc.integer({ min: 0, max: 30 }),
  });
  fc.assert(fc.property(fc.array(fc.tuple(place, fc.boolean())), (steps) => {
    const pool = new Pool({ maxCount: 40, maxBytes: 500, shares: TENTH });
    const kept: Place[] = [];
    for (const [place, isRemoval] of steps) {
      if (isRemoval && kept.length > 0) pool.remove(kept.shift()!);
      else if (pool.findShortage(place) === undefined) {
        pool.add(place);
        kept.push(place);
      }
      assert.deepEqual([pool.size, pool.bytes], [
        kept.length,
        kept.reduce((sum, { bytes }) => sum + bytes, 0),
      ]);
      assert.ok(pool.size <= 40 && pool.bytes <= 500);
      for (const owner of ["ann", "bob", "cid"]) {
        const own = kept.filter((one) => one.owner === owner);
        assert.ok(own.length <= 4 && own.reduce((sum, { bytes }) => sum + bytes, 0) <= 50);
      }
    }
  }));
});
