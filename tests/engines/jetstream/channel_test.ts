/** What a node remembers of a channel's messages that were taken back one by one: no more than it says. */
import assert from "node:assert/strict";
import { JetStreamChannel } from "../../../lib/engines/jetstream/channel.ts";

/** Numbers of a forgotten channel besides the offsets of messages that were taken back. */
const FEW = 16;

/** Stores messages one by one, and takes each back at once. */
function takeAllBack(messages: number, count: number): JetStreamChannel {
  const channel = new JetStreamChannel("news", 1, { messages, seconds: Infinity });
  for (let sequence = 1; sequence <= count; sequence++) {
    channel.push(sequence, 0, 0, Infinity);
    assert.equal(channel.removeOne(sequence), sequence);
  }
  return channel;
}

Deno.test("JetStreamChannel remembers what was taken back as far as its history goes", () => {
  const channel = takeAllBack(100, 5_000);
  assert.equal(channel.countTakenBack(4_900), 100, "nobody misses any of the last hundred");
  assert.ok(channel.left.length <= 125 + FEW);
});

Deno.test("JetStreamChannel remembers of the newest 10,000 that they were taken back, without a limit too", () => {
  const channel = takeAllBack(Infinity, 14_000);
  assert.equal(channel.countTakenBack(4_000), 10_000);
  assert.ok(channel.countTakenBack(0) <= 12_500, "who resumes from there is told of a gap");
  assert.ok(channel.left.length <= 12_500 + FEW);
});
