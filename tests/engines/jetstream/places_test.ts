/** Which messages a page holds, of many channels: the same as of all messages in one list. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { JetStreamChannel } from "../../../lib/engines/jetstream/channel.ts";
import { findFirstPlaces, findLastPlaces } from "../../../lib/engines/jetstream/places.ts";

function createChannel(name: string, sequences: readonly number[]): JetStreamChannel {
  const channel = {
    length: sequences.length,
    sequenceAt: (i: number) => sequences[i],
    placeAt: (i: number) => ({ channel: name, sequence: sequences[i], offset: i + 1, time: 0 }),
  };
  return channel as unknown as JetStreamChannel;
}

/** Messages with ascending sequences, each in one of some channels. */
const arbitrary = fc.record({
  channels: fc.array(fc.nat(30), { maxLength: 400 }),
  limit: fc.nat(60),
  top: fc.nat(450),
  after: fc.nat(450),
});

Deno.test("findFirstPlaces() and findLastPlaces() find what all messages in one list hold", async () => {
  await fc.assert(fc.asyncProperty(arbitrary, async ({ channels: owners, limit, top, after }) => {
    const lists = new Map<number, number[]>();
    owners.forEach((owner, i) => lists.set(owner, [...lists.get(owner) ?? [], i + 1]));
    const channels = [...lists].map(([owner, sequences]) => createChannel(String(owner), sequences));
    const all = owners.map((_, i) => i + 1).filter((sequence) => sequence <= top);
    const start = ({ length, ...channel }: JetStreamChannel) => {
      let i = 0;
      while (i < length && (channel as JetStreamChannel).sequenceAt(i) <= after) i++;
      return i;
    };
    const first = await findFirstPlaces(channels, start, limit, top);
    assert.deepEqual(
      first.map(({ sequence }) => sequence),
      all.filter((sequence) => sequence > after).slice(0, limit),
    );
    for (const { channel, sequence } of first) assert.equal(channel, String(owners[sequence - 1]));
    const last = await findLastPlaces(channels, limit, top);
    assert.deepEqual(last.map(({ sequence }) => sequence), limit === 0 ? [] : all.slice(-limit));
  }));
});

Deno.test("findFirstPlaces() lets others go between very many channels", async () => {
  const channels = Array.from({ length: 2_000 }, (_, i) => createChannel(String(i), [i + 1]));
  let isDone = false;
  let turns = 0;
  const finding = findFirstPlaces(
    channels,
    () => {
      for (const end = performance.now() + 0.02; performance.now() < end;);
      return 0;
    },
    10,
    Infinity,
  ).finally(() => isDone = true);
  while (!isDone) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    turns++;
  }
  assert.deepEqual((await finding).map(({ sequence }) => sequence), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.ok(turns >= 5, `${turns} turns`);
});
