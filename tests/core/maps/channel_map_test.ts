/** The map of one channel in memory, while publishes are under way. */
import assert from "node:assert/strict";
import { ChannelMap } from "../../../lib/core/maps/channel_map.ts";
import { createMessage } from "../../fakes/message.ts";

Deno.test("A map knows how many keys publishes under way may add, in whatever order they begin and end", () => {
  const map = new ChannelMap("scores");
  const message = (key: string, sequence: number, removed: boolean) =>
    createMessage("", { sequence, properties: removed ? { key, removed } : { key } });
  let random = 7;
  const next = (below: number) => (random = (random * 48_271) % 2_147_483_647) % below;
  const under: { key: string; release: () => void }[] = [];
  for (let sequence = 1; sequence <= 20_000; sequence++) {
    const key = `k${next(5)}`;
    const step = next(5);
    if (step === 0) under.push({ key, release: map.hold(key) });
    else if (step === 1 && under.length > 0) under.splice(next(under.length), 1)[0]!.release();
    else if (step === 2) map.forget(({ properties }) => properties?.key === key);
    else map.apply(message(key, sequence, step === 3));
    const added = new Set(under.map(({ key }) => key).filter((key) => map.get(key) === undefined));
    assert.equal(map.addedCount, added.size);
  }
});
