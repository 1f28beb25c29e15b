/** Who is on a channel: members, counts, and the changes watchers are told. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Member, Presence, type PresenceChange } from "../../lib/core/presence.ts";

function createMember(id: string, name?: string): Member {
  return { id, name, protocol: "fake", since: 0 };
}

Deno.test("Presence.join() counts connections and different clients and users", () => {
  const presence = new Presence();
  const [tab1, tab2, other] = [createMember("john"), createMember("john"), createMember("jane")];
  for (const member of [tab1, tab2, other, tab1]) presence.join("news", member);
  assert.deepEqual(presence.count("news"), { connections: 3, clients: 2, users: 1 });
  assert.deepEqual(presence.list("news"), [tab1, tab2, other]);
  presence.leave("news", tab1);
  // It was added twice.
  assert.deepEqual(presence.count("news"), { connections: 3, clients: 2, users: 1 });
  presence.leave("news", tab1);
  assert.deepEqual(presence.count("news"), { connections: 2, clients: 2, users: 1 });
  presence.leave("news", tab1);
  presence.leave("news", tab2);
  assert.deepEqual(presence.count("news"), { connections: 1, clients: 1, users: 1 });
  presence.leave("news", other);
  assert.deepEqual(presence.count("news"), { connections: 0, clients: 0, users: 0 });
  assert.deepEqual(presence.list("news"), []);
});

Deno.test("Presence.leave() of somebody who is not there changes nothing", () => {
  const presence = new Presence();
  presence.leave("news", createMember("john"));
  presence.join("news", createMember("john"));
  presence.leave("news", createMember("john"));
  presence.leave("ops", createMember("john"));
  assert.deepEqual(presence.count("news"), { connections: 1, clients: 1, users: 1 });
});

Deno.test("Presence.watch() is told each join and leave of its channel, once, until it ends", () => {
  const presence = new Presence();
  const changes: PresenceChange[] = [];
  const john = createMember("john", "John");
  presence.join("news", createMember("before"));
  const end = presence.watch("news", (change) => changes.push(change));
  const endOther = presence.watch("news", () => {});
  presence.join("news", john);
  presence.join("news", john);
  presence.join("ops", john);
  presence.leave("news", john);
  presence.leave("news", john);
  presence.leave("news", john);
  endOther();
  presence.join("news", john);
  end();
  end();
  presence.leave("news", john);
  assert.deepEqual(changes, [
    { kind: "join", channel: "news", member: john },
    { kind: "leave", channel: "news", member: john },
    { kind: "join", channel: "news", member: john },
  ]);
});

Deno.test("Presence.count() is the length of its list, whatever came and went", () => {
  const members = ["a", "a", "b", "c"].map((id) => createMember(id));
  const arbitraryStep = fc.tuple(fc.boolean(), fc.nat({ max: 3 }), fc.constantFrom("news", "ops"));
  fc.assert(fc.property(fc.array(arbitraryStep), (steps) => {
    const presence = new Presence();
    for (const [comes, i, channel] of steps) {
      if (comes) presence.join(channel, members[i]!);
      else presence.leave(channel, members[i]!);
      for (const name of ["news", "ops"]) {
        const list = presence.list(name);
        const clients = new Set(list.map(({ id }) => id)).size;
        assert.deepEqual(presence.count(name), {
          connections: list.length,
          clients,
          users: Math.min(list.length, 1),
        });
      }
    }
  }));
});
