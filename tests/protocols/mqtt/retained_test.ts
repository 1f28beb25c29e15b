/** Retained messages whose server was killed after it stored them and before it retained them. */
import assert from "node:assert/strict";
import { selectChannel, selectPatterns } from "../../../lib/core/channel.ts";
import { Hub } from "../../../lib/core/hub.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { MessagingError } from "../../../lib/core/errors.ts";
import type { LogState } from "../../../lib/core/log.ts";
import { MemoryState } from "../../../lib/core/memory_state.ts";
import type { Draft, Message } from "../../../lib/core/message.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import { RetainedMessages } from "../../../lib/protocols/mqtt/retained.ts";
import { toStored } from "../../../lib/protocols/mqtt/stored_message.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";

function createDraft(text: string, marker: string): Draft {
  return { channel: "lamp", payload: { kind: "text", text }, marker, properties: { qos: 2, retain: true } };
}

Deno.test("A message that comes again is retained, unless a later one is", async () => {
  const rules = new Rules([]);
  const logger = new RecordingLogger();
  await using log = new MemoryEngine({ rules });
  const hub = new Hub({ log, rules, logger, maxMessageBytes: 1_000 });
  await using retained = new RetainedMessages({ state: log.state, logger, maxMessages: 10, maxBytes: 1_000 });
  const readTexts = () =>
    [...retained.match(selectChannel("lamp"))].map(({ payload }) => payload.kind === "text" && payload.text);
  // Nothing observes the hub yet: it is stored, and not retained.
  await hub.publish(createDraft("on", "1"));
  hub.observe((messages) => retained.observe(messages));
  hub.retainBy(retained);
  assert.deepEqual(readTexts(), []);
  const { duplicate } = await hub.publish(createDraft("on", "1"));
  assert.deepEqual([duplicate, readTexts()], [true, ["on"]]);
  await hub.publish(createDraft("off", "2"));
  await hub.publish(createDraft("on", "1"));
  assert.deepEqual(readTexts(), ["off"]);
});

const EVERYTHING = selectPatterns(["**"]);

function createMessage(channel: string, text: string, sequence: number): Message {
  return {
    channel,
    payload: { kind: "text", text },
    epoch: "e",
    sequence,
    offset: sequence,
    time: 1_000 + sequence,
    event: undefined,
    from: undefined,
    socketId: undefined,
    to: undefined,
    properties: { retain: true },
  };
}

/** What is retained, as `channel text`. */
function listRetained(retained: RetainedMessages): string[] {
  return [...retained.match(EVERYTHING)]
    .map(({ channel, payload }) => `${channel} ${payload.kind === "bytes" ? "" : payload.text}`).sort();
}

/** What another node would find in the engine. */
async function reopen(state: LogState): Promise<string[]> {
  const limits = { maxMessages: 1_000_000, maxBytes: 1_000_000_000 };
  await using other = new RetainedMessages({ state, logger: new RecordingLogger(), ...limits });
  await other.load();
  return listRetained(other);
}

Deno.test("A retained message costs one write of its own size, however many others there are", async () => {
  const written: number[] = [];
  class CountingState extends MemoryState {
    override write(key: string, value: string, revision: number): Promise<number | undefined> {
      written.push(value.length);
      return super.write(key, value, revision);
    }
  }
  const state = new CountingState();
  const limits = { maxMessages: 10_000, maxBytes: 1_000_000 };
  await using retained = new RetainedMessages({ state, logger: new RecordingLogger(), ...limits });
  retained.observe(Array.from({ length: 5_000 }, (_, i) => createMessage(`lamps/${i}`, "off", i + 1)));
  await retained.settled("lamps/4999");
  assert.equal(written.length, 5_000);
  written.length = 0;
  retained.observe([createMessage("lamps/7", "on", 6_000), createMessage("lamps/8", "", 6_001)]);
  await Promise.all(["lamps/7", "lamps/8"].map((channel) => retained.settled(channel)));
  assert.equal(written.length, 1);
  assert.ok(Math.max(...written) < 500);
  const found = await reopen(state);
  assert.deepEqual([found.length, found.includes("lamps/7 on"), found.includes("lamps/8 off")], [
    4_999,
    true,
    false,
  ]);
});

Deno.test("Retained messages take no more bytes than they may, whatever replaces them", async () => {
  const logger = new RecordingLogger();
  const state = new MemoryState();
  await using retained = new RetainedMessages({ state, logger, maxMessages: 100, maxBytes: 1_000 });
  const show = (channel: string, size: number, sequence: number) => {
    const message = createMessage(channel, "x".repeat(size), sequence);
    const { payload, properties, epoch, offset, time } = message;
    return retained.retain({ channel, payload, ...(properties === undefined ? {} : { properties }) }, () => {
      retained.observe([message]);
      return Promise.resolve({ epoch, offset, sequence, time, duplicate: false });
    });
  };
  const full = { code: "too_many_retained", message: /--mqtt-max-retained-bytes/ };
  await show("a", 400, 1);
  await show("b", 400, 2);
  await assert.rejects(show("c", 400, 3), full);
  assert.equal(retained.size, 2);
  await assert.rejects(show("a", 700, 4), full);
  assert.equal(retained.bytes < 1_000, true);
  await show("b", 10, 5);
  await show("c", 400, 6);
  assert.equal(retained.size, 3);
  await show("a", 0, 7);
  await show("b", 0, 8);
  await show("c", 0, 9);
  assert.deepEqual([retained.size, retained.bytes], [0, 0]);
});

Deno.test("What an older version retained is kept, each message under a key of its own", async () => {
  const state = new MemoryState();
  const [a, b] = [createMessage("a", "one", 1), createMessage("b", "two", 2)].map(toStored);
  await state.write("mqtt-retained-0", JSON.stringify([a]), 0);
  await state.write("mqtt-retained-63", JSON.stringify([b]), 0);
  assert.deepEqual(await reopen(state), ["a one", "b two"]);
  assert.equal(await state.read("mqtt-retained-63"), undefined);
  assert.deepEqual(await reopen(state), ["a one", "b two"]);
});

Deno.test("Of several nodes that see the same messages, whoever stores last leaves the newest", async () => {
  const state = new MemoryState();
  const limits = { maxMessages: 100, maxBytes: 100_000 };
  const logger = new RecordingLogger();
  await using one = new RetainedMessages({ state, logger, ...limits });
  await using two = new RetainedMessages({ state, logger, ...limits });
  const first = [createMessage("a", "old", 1), createMessage("b", "old", 2), createMessage("c", "old", 3)];
  one.observe(first);
  await one.settled("c");
  // The other is late, and the first has gone on.
  one.observe([createMessage("a", "new", 4), createMessage("b", "", 5)]);
  await one.settled("b");
  two.observe([...first, createMessage("a", "new", 4), createMessage("b", "", 5)]);
  await Promise.all(["a", "b", "c"].map((channel) => two.settled(channel)));
  for (const found of [listRetained(one), listRetained(two), await reopen(state)]) {
    assert.deepEqual(found, ["a new", "c old"]);
  }
});

Deno.test("While the engine is away a retained message is not settled, and it is stored when the engine is back", async () => {
  let isAway = true;
  class AwayState extends MemoryState {
    override write(key: string, value: string, revision: number): Promise<number | undefined> {
      if (!isAway) return super.write(key, value, revision);
      isAway = false;
      return Promise.reject(new MessagingError("log_unavailable", "away"));
    }
  }
  const state = new AwayState();
  const limits = { maxMessages: 100, maxBytes: 100_000 };
  await using retained = new RetainedMessages({ state, logger: new RecordingLogger(), ...limits });
  retained.observe([createMessage("a", "on", 1)]);
  await retained.settled("a");
  assert.deepEqual([isAway, await reopen(state)], [false, ["a on"]]);
});
