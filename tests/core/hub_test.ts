/** The hub: who gets which message, in what order, encoded how often, and what is left behind. */
import assert from "node:assert/strict";
import { directChannel, selectChannel, type Selector, selectPatterns } from "../../lib/core/channel.ts";
import { type ErrorCode, MessagingError } from "../../lib/core/errors.ts";
import { Hub } from "../../lib/core/hub.ts";
import type { Draft, Message } from "../../lib/core/message.ts";
import { PatternIndex } from "../../lib/core/pattern_index.ts";
import { type RuleEntry, Rules } from "../../lib/core/rules.ts";
import { Frame } from "../../lib/core/socket.ts";
import type { SubscribeOptions } from "../../lib/core/subscription.ts";
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";
import { createDraft, createMessage } from "../fakes/message.ts";
import { ManualSchedule, settle } from "../fakes/schedule.ts";
import {
  countCalls,
  createClient,
  type FakeClient,
  type FakeClientOptions,
  JOINED,
  TEXT,
  textOf,
} from "../fakes/socket.ts";

const NEWS = selectChannel("news");

/** A hub on a memory log whose turns end when the test says so. */
class Bench {
  readonly loop = new ManualSchedule();
  readonly logger = new RecordingLogger();
  readonly hub: Hub;

  constructor(entries: readonly RuleEntry[] = []) {
    const rules = new Rules(entries);
    const log = new MemoryEngine({ rules, schedule: this.loop.schedule });
    this.hub = new Hub({ log, rules, logger: this.logger, maxMessageBytes: 100 });
  }

  /** A connected client that reads a selector. */
  read(selector: Selector, options: FakeClientOptions = {}, subscribe: SubscribeOptions = {}): FakeClient {
    const client = createClient({ onEnd: (ended) => this.hub.disconnect(ended), ...options });
    this.hub.connect(client);
    this.hub.subscribe(client, selector, subscribe);
    return client;
  }

  /** Publishes drafts in one turn. */
  async publish(...drafts: Draft[]) {
    const published = drafts.map((draft) => this.hub.publish(draft));
    while (this.loop.waiting > 0) this.loop.run();
    return await Promise.all(published);
  }
}

function rejects(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert.ok(error instanceof MessagingError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

Deno.test("Hub.publish() delivers what the log stored, and answers with its receipt", async () => {
  const bench = new Bench();
  const reader = bench.read(NEWS);
  const pending = bench.hub.publish(createDraft("a"));
  assert.deepEqual(reader.socket.texts, [], "nothing is delivered before it is stored");
  bench.loop.run();
  assert.deepEqual(reader.socket.texts, ["a"]);
  const { epoch, offset, sequence, duplicate, subscribers } = await pending;
  assert.deepEqual({ epoch, sequence }, bench.hub.top);
  assert.deepEqual([offset, duplicate, subscribers], [1, false, 1]);
  const page = await bench.hub.read({ selector: NEWS, after: { kind: "earliest" }, limit: 10 });
  assert.equal(page.messages.length, 1);
});

Deno.test("Hub.publish() keeps the order of the calls, for every reader", async () => {
  const bench = new Bench();
  const readers = [bench.read(NEWS), bench.read(selectPatterns(["*"])), bench.read(NEWS)];
  await bench.publish(...["a", "b", "c"].map((text) => createDraft(text)));
  await bench.publish(createDraft("d"));
  for (const { socket } of readers) assert.deepEqual(socket.texts, ["a", "b", "c", "d"]);
});

Deno.test("Hub.publish() counts the sockets a message is offered to", async () => {
  const bench = new Bench();
  for (
    const selector of [
      NEWS,
      NEWS,
      selectPatterns(["*"]),
      selectPatterns(["ops", "news"]),
      selectChannel("ops"),
    ]
  ) {
    bench.read(selector);
  }
  const [news, ops, other, deep] = await bench.publish(
    createDraft("a"),
    createDraft("a", { channel: "ops" }),
    createDraft("a", { channel: "other" }),
    createDraft("a", { channel: "a/b" }),
  );
  assert.deepEqual([news, ops, other, deep].map((receipt) => receipt?.subscribers), [4, 3, 1, 0]);
  assert.equal(bench.hub.countSubscribers("news"), 4);
});

Deno.test("Hub.publish() refuses a message beyond the limit and names it", async () => {
  const bench = new Bench();
  const text = (text: string) => bench.hub.publish(createDraft(text));
  await rejects(text("x".repeat(101)), "too_large", /101 bytes and the limit is 100.*--max-message-bytes/);
  await rejects(text("é".repeat(51)), "too_large", /102 bytes/);
  const bytes = new Uint8Array(101);
  await rejects(
    bench.hub.publish(createDraft("", { payload: { kind: "bytes", bytes } })),
    "too_large",
    /101 bytes/,
  );
  await bench.publish(createDraft("x".repeat(100)), createDraft("é".repeat(50)));
  assert.equal(bench.hub.top.sequence, 2);
});

Deno.test("Hub.publish() stores nothing of an ephemeral channel", async () => {
  const bench = new Bench([{ channels: "news", ephemeral: true }]);
  const reader = bench.read(NEWS);
  const [receipt] = await bench.publish(createDraft("a"));
  assert.equal(receipt?.offset, 0);
  assert.deepEqual(reader.socket.texts, ["a"]);
  assert.equal(
    (await bench.hub.read({ selector: NEWS, after: { kind: "earliest" }, limit: 9 })).messages.length,
    0,
  );
});

Deno.test("Hub.publish() passes on what the log rejects with", async () => {
  const rules = new Rules([]);
  const log = new MemoryEngine({ rules });
  const hub = new Hub({ log, rules, logger: new RecordingLogger(), maxMessageBytes: 100 });
  await log[Symbol.asyncDispose]();
  await rejects(hub.publish(createDraft("a")), "log_unavailable", /closed/);
});

Deno.test("Hub logs clients coming and going, and messages with their data", async () => {
  const bench = new Bench();
  const client = createClient({ id: "id1", name: "John" });
  bench.hub.connect(client, "news");
  await bench.publish(createDraft("it rains"));
  bench.hub.disconnect(client, 1000);
  bench.hub.disconnect(client, 1000);
  assert.deepEqual(bench.logger.entries, [
    {
      level: "info",
      event: "client connected",
      fields: { id: "id1", name: "John", channel: "news", protocol: "fake" },
    },
    { level: "info", event: "message received", fields: { channel: "news", data: "it rains" } },
    { level: "info", event: "client disconnected", fields: { id: "id1", code: 1000 } },
  ]);
});

Deno.test("Hub logs each message that was accepted once, and none that was refused", async () => {
  const rules = new Rules([{ channels: "cursors", conflate: true }]);
  const log = new MemoryEngine({ rules });
  const logger = new RecordingLogger();
  const hub = new Hub({ log, rules, logger, maxMessageBytes: 100 });
  const key = { properties: { key: "k" } };
  await rejects(hub.publish(createDraft("no map", { channel: "cursors", ...key })), "not_available", /keys/);
  await rejects(hub.publish(createDraft("transient", { ephemeral: true, ...key })), "bad_option", /stored/);
  await hub.publish(createDraft("set", key));
  const repeated = createDraft("repeated", { idempotencyKey: "1" });
  await Promise.all([hub.publish(repeated), hub.publish(repeated)]);
  await hub.publish(repeated);
  await log[Symbol.asyncDispose]();
  await rejects(hub.publish(createDraft("late")), "log_unavailable", /closed/);
  assert.deepEqual(logger.find("message received").map(({ data }) => data), ["set", "repeated"]);
});

Deno.test("Hub.deliver() leaves out the socket a message came from, unless it wants its echo", async () => {
  const bench = new Bench();
  const sender = bench.read(NEWS);
  const other = bench.read(NEWS);
  const echo = bench.read(NEWS, { echo: true });
  await bench.publish(
    createDraft("mine", { socketId: sender.socket.id }),
    createDraft("posted"),
    createDraft("theirs", { socketId: echo.socket.id }),
  );
  assert.deepEqual(sender.socket.texts, ["posted", "theirs"]);
  assert.deepEqual(other.socket.texts, ["mine", "posted", "theirs"]);
  assert.deepEqual(echo.socket.texts, ["mine", "posted", "theirs"]);
});

Deno.test("Hub.deliver() leaves a sender's messages out of joined frames too", async () => {
  const bench = new Bench();
  const sender = bench.read(NEWS, { encoder: JOINED });
  const other = bench.read(NEWS, { encoder: JOINED });
  const { id: socketId } = sender.socket;
  await bench.publish(createDraft("a", { socketId }), createDraft("b"), createDraft("c", { socketId }));
  await bench.publish(createDraft("d", { socketId }));
  assert.deepEqual(sender.socket.texts, ["b"]);
  assert.deepEqual(other.socket.texts, ["a+b+c", "d"]);
});

Deno.test("Hub.deliver() encodes once per encoder", async () => {
  const bench = new Bench();
  const single = countCalls(TEXT);
  const joined = countCalls(JOINED);
  const readers: FakeClient[] = [];
  for (let i = 0; i < 50; i++) {
    readers.push(
      bench.read(NEWS, { encoder: single.encoder }),
      bench.read(NEWS, { encoder: joined.encoder }),
    );
    readers.push(bench.read(selectPatterns(["*"]), { encoder: single.encoder }));
    readers.push(bench.read(selectPatterns(["news", "ops"]), { encoder: joined.encoder }));
  }
  await bench.publish(createDraft("a"), createDraft("b"), createDraft("c"));
  assert.equal(single.calls(), 3, "one call a message");
  assert.equal(joined.calls(), 1, "one call a batch");
  for (const { socket } of readers) {
    assert.equal(socket.texts.join("+"), "a+b+c");
    assert.equal(socket.sends, 1);
  }
  assert.equal(readers[0]?.socket.sent[0], readers[4]?.socket.sent[0], "the frames are shared");
});

Deno.test("Hub.deliver() encodes a sender's part without encoding single frames again", async () => {
  const bench = new Bench();
  const { encoder, calls } = countCalls(TEXT);
  const senders = Array.from({ length: 10 }, () => bench.read(NEWS, { encoder }));
  await bench.publish(...senders.map(({ socket }) => createDraft(socket.id, { socketId: socket.id })));
  assert.equal(calls(), 10);
  for (const { socket } of senders) {
    assert.deepEqual(socket.texts, senders.map((other) => other.socket.id).filter((id) => id !== socket.id));
  }
});

Deno.test("Hub.deliver() gives pattern and list readers a batch in sequence order, each message once", async () => {
  const bench = new Bench();
  const names = ["b", "a/1", "c", "a/2", "a/1", "b", "a/1/x", "c"];
  const readers = new Map<string, FakeClient>();
  for (const patterns of ["**", "*", "a/*", "a/**", "a/1,a/*,a/**", "b,c", "b,nothing", "nothing"]) {
    readers.set(patterns, bench.read(selectPatterns(patterns.split(",")), { encoder: JOINED }));
  }
  await bench.publish(...names.map((channel, i) => createDraft(`${i}`, { channel })));
  const received = [...readers].map(([patterns, { socket }]) => [patterns, ...socket.texts]);
  assert.deepEqual(received, [
    ["**", "0+1+2+3+4+5+6+7"],
    ["*", "0+2+5+7"],
    ["a/*", "1+3+4"],
    ["a/**", "1+3+4+6"],
    ["a/1,a/*,a/**", "1+3+4+6"],
    ["b,c", "0+2+5+7"],
    ["b,nothing", "0+5"],
    ["nothing"],
  ]);
});

Deno.test("Hub.deliver() leaves a batch to the subscriptions that match, of a client with several", async () => {
  const bench = new Bench();
  const client = bench.read(NEWS);
  bench.hub.subscribe(client, selectChannel("ops"));
  await bench.publish(
    createDraft("a"),
    createDraft("b", { channel: "ops" }),
    createDraft("c", { channel: "x" }),
  );
  assert.deepEqual(client.socket.texts.sort(), ["a", "b"]);
});

Deno.test("Hub.deliver() of nothing does nothing", () => {
  const bench = new Bench();
  const reader = bench.read(NEWS);
  bench.hub.deliver([]);
  assert.equal(reader.socket.sends, 0);
});

Deno.test("Hub.deliver() cuts off a slow reader and serves the others", async () => {
  const bench = new Bench();
  const before = bench.read(NEWS);
  const slow = bench.read(NEWS, { limits: { messages: 2, bytes: 1_000 } });
  const after = bench.read(NEWS);
  slow.socket.stall();
  for (const text of ["a", "b", "c", "d"]) await bench.publish(createDraft(text));
  assert.deepEqual(slow.ended.map((error) => error.code), ["slow_subscriber"]);
  assert.deepEqual(slow.socket.texts, ["a", "b"]);
  for (const { socket } of [before, after]) assert.deepEqual(socket.texts, ["a", "b", "c", "d"]);
  assert.equal(bench.hub.clientCount, 2);
});

Deno.test("Hub.publish() to a direct channel reaches every connection of that client alone", async () => {
  const bench = new Bench();
  const { encoder, calls } = countCalls(TEXT);
  const tabs = [
    bench.read(NEWS, { id: "id1", encoder }),
    bench.read(selectChannel("ops"), { id: "id1", encoder }),
  ];
  const other = bench.read(NEWS, { id: "id2" });
  const wildcard = bench.read(selectPatterns(["**"]), { id: "id3" });
  const draft = createDraft("only you", { channel: directChannel("id1"), to: "id1" });
  const [receipt] = await bench.publish(draft);
  assert.equal(receipt?.subscribers, 2);
  assert.deepEqual([receipt?.offset, receipt?.sequence], [0, 0]);
  for (const { socket } of tabs) assert.deepEqual(socket.texts, ["only you"]);
  assert.equal(calls(), 1);
  assert.deepEqual([...other.socket.texts, ...wildcard.socket.texts], []);
});

Deno.test("Hub.publish() with `to` reaches that client's readers of the channel, in line with the rest", async () => {
  const bench = new Bench();
  const reader = bench.read(NEWS, { id: "id1" });
  const wildcard = bench.read(selectPatterns(["ops", "n/*", "news"]), { id: "id1" });
  const elsewhere = bench.read(selectChannel("ops"), { id: "id1" });
  const other = bench.read(NEWS, { id: "id2" });
  const [, receipt] = await bench.publish(
    createDraft("a"),
    createDraft("b", { to: "id1" }),
    createDraft("c"),
  );
  assert.equal(receipt?.subscribers, 2);
  assert.deepEqual(reader.socket.texts, ["a", "b", "c"]);
  assert.deepEqual(wildcard.socket.texts, ["a", "b", "c"]);
  assert.deepEqual(other.socket.texts, ["a", "c"]);
  assert.deepEqual(elsewhere.socket.texts, []);
  const page = await bench.hub.read({ selector: NEWS, after: { kind: "earliest" }, limit: 9 });
  assert.equal(page.messages.length, 2);
});

Deno.test("Hub.publish() to a client that is not there is refused", async () => {
  const bench = new Bench();
  bench.read(selectChannel("ops"), { id: "id1" });
  const direct = (id: string) => createDraft("a", { channel: directChannel(id), to: id });
  await rejects(bench.hub.publish(direct("id2")), "no_such_client", /No client has the id "id2"/);
  await rejects(
    bench.hub.publish(createDraft("a", { to: "id1" })),
    "no_such_client",
    /"id1" is subscribed to "news"/,
  );
  assert.equal(bench.loop.waiting, 0, "nothing reached the log");
});

Deno.test("Hub.deliver() cuts off a client too slow for its direct messages", async () => {
  const bench = new Bench();
  const slow = bench.read(NEWS, { id: "id1", limits: { messages: 1, bytes: 1_000 } });
  slow.socket.stall();
  const draft = createDraft("a", { channel: directChannel("id1"), to: "id1" });
  await bench.publish(draft, draft);
  assert.deepEqual(slow.ended.map((error) => error.code), ["slow_subscriber"]);
  assert.equal(bench.hub.clientCount, 0);
});

Deno.test("Hub.disconnect() leaves nothing behind, however often it is called", async () => {
  const bench = new Bench();
  const { hub } = bench;
  const client = createClient({ id: "id1" });
  hub.connect(client);
  for (
    const selector of [NEWS, NEWS, selectChannel("ops"), selectPatterns(["**"]), selectPatterns(["a", "b"])]
  ) {
    hub.subscribe(client, selector);
  }
  assert.equal(hub.presence.count("news").connections, 1);
  assert.equal(hub.groupCount, 4);
  for (let i = 0; i < 3; i++) hub.disconnect(client, 1006);
  assert.deepEqual([hub.clientCount, hub.groupCount, hub.countSubscribers("news")], [0, 0, 0]);
  assert.deepEqual(hub.presence.list("news"), []);
  assert.deepEqual(hub.presence.list("ops"), []);
  await rejects(
    hub.publish(createDraft("a", { channel: directChannel("id1"), to: "id1" })),
    "no_such_client",
    /id1/,
  );
  await bench.publish(createDraft("a"));
  assert.deepEqual(client.socket.texts, []);
  hub.disconnect(createClient());
});

Deno.test("Hub.disconnect() of one connection leaves the client's others alone", async () => {
  const bench = new Bench();
  const [one, two] = [bench.read(NEWS, { id: "id1" }), bench.read(NEWS, { id: "id1" })];
  bench.hub.disconnect(one);
  assert.deepEqual(bench.hub.presence.count("news"), { connections: 1, clients: 1, users: 1 });
  await bench.publish(createDraft("a"), createDraft("b", { channel: directChannel("id1"), to: "id1" }));
  assert.deepEqual(one.socket.texts, []);
  assert.deepEqual(two.socket.texts, ["a", "b"]);
});

Deno.test("Hub.unsubscribe() ends one subscription, once, and presence with a channel's last", async () => {
  const bench = new Bench();
  const client = createClient();
  bench.hub.connect(client);
  const first = bench.hub.subscribe(client, NEWS);
  const second = bench.hub.subscribe(client, NEWS);
  bench.hub.unsubscribe(first);
  bench.hub.unsubscribe(first);
  assert.equal(bench.hub.countSubscribers("news"), 1);
  assert.equal(bench.hub.presence.count("news").connections, 1);
  await bench.publish(createDraft("a"));
  assert.deepEqual(client.socket.texts, ["a"]);
  bench.hub.unsubscribe(second);
  assert.equal(bench.hub.presence.count("news").connections, 0);
  assert.equal(bench.hub.groupCount, 0);
  assert.equal(bench.hub.clientCount, 1);
});

Deno.test("Hub.subscribe() of a client that is not connected is a programmer's mistake", () => {
  const bench = new Bench();
  assert.throws(() => bench.hub.subscribe(createClient(), NEWS), TypeError);
  assert.equal(bench.hub.groupCount, 0);
});

Deno.test("Hub.subscribe() without `since` reads from now on", async () => {
  const bench = new Bench();
  await bench.publish(createDraft("a"));
  const reader = bench.read(NEWS);
  await bench.publish(createDraft("b"));
  assert.deepEqual(reader.socket.texts, ["b"]);
});

Deno.test("Hub.subscribe() ends after its limit, live or replayed", async () => {
  const bench = new Bench();
  let ended = 0;
  const onLimit = () => ended++;
  await bench.publish(createDraft("a"), createDraft("b"), createDraft("c"));
  const live = bench.read(NEWS, { encoder: JOINED }, { limit: 3, onLimit });
  const replayed = bench.read(NEWS, { encoder: JOINED }, { limit: 2, since: { kind: "earliest" }, onLimit });
  const both = bench.read(NEWS, { encoder: JOINED }, { limit: 4, since: { kind: "earliest" }, onLimit });
  await settle();
  assert.equal(ended, 1);
  await bench.publish(createDraft("d"), createDraft("e"));
  await bench.publish(createDraft("f"), createDraft("g"));
  await bench.publish(createDraft("h"));
  assert.equal(ended, 3);
  assert.deepEqual(live.socket.texts, ["d+e", "f"]);
  assert.deepEqual(replayed.socket.texts, ["a+b"]);
  assert.deepEqual(both.socket.texts, ["a+b+c", "d"]);
});

Deno.test("Hub.clear() empties a channel, but not while draining", async () => {
  const bench = new Bench();
  await bench.publish(createDraft("a"), createDraft("b"));
  assert.equal(await bench.hub.clear("news"), 2);
  bench.hub.drain();
  await rejects(bench.hub.clear("news"), "draining", /restarting/);
});

Deno.test("Hub.drain() refuses new work, ends every client and finishes what was accepted", async () => {
  const bench = new Bench();
  const clients = [bench.read(NEWS), bench.read(selectPatterns(["**"])), bench.read(selectChannel("ops"))];
  const accepted = bench.hub.publish(createDraft("a"));
  bench.hub.drain();
  assert.equal(bench.hub.draining, true);
  for (const { ended } of clients) assert.deepEqual(ended.map(({ close }) => close), [1012]);
  assert.deepEqual([bench.hub.clientCount, bench.hub.groupCount], [0, 0]);
  await rejects(bench.hub.publish(createDraft("b")), "draining", /restarting/);
  bench.loop.run();
  assert.equal((await accepted).offset, 1);
});

const CONFLATED: RuleEntry[] = [{ channels: "cursors", conflate: true }];
const CURSORS = selectChannel("cursors");
const move = (id: string, to: number) => createDraft(`${id}${to}`, { channel: "cursors", from: { id } });

Deno.test("Hub.deliver() on a conflated channel keeps the newest of each sender in a batch", async () => {
  const bench = new Bench(CONFLATED);
  const reader = bench.read(CURSORS, { encoder: JOINED });
  await bench.publish(move("a", 1), move("b", 1), move("a", 2), move("c", 1), move("b", 2));
  assert.deepEqual(reader.socket.texts, ["a2+c1+b2"]);
});

Deno.test("Hub.deliver() gives a conflated reader that is behind the newest of each sender, when it has room", async () => {
  const bench = new Bench(CONFLATED);
  const slow = bench.read(CURSORS, { limits: { messages: 5, bytes: 100 } });
  const quick = bench.read(CURSORS);
  slow.socket.stall();
  await bench.publish(move("a", 0));
  for (let i = 1; i <= 100; i++) await bench.publish(move("a", i), move("b", i));
  assert.deepEqual(slow.socket.texts, ["a0"], "nothing is added to a queue that does not move");
  slow.socket.leave(1);
  await settle();
  assert.deepEqual(slow.socket.texts, ["a0"]);
  slow.socket.leave(1);
  await settle();
  assert.deepEqual(slow.socket.texts, ["a0", "a100", "b100"]);
  slow.socket.resume();
  await bench.publish(move("a", 101));
  assert.deepEqual(slow.socket.texts, ["a0", "a100", "b100", "a101"]);
  assert.equal(slow.ended.length, 0);
  assert.equal(quick.socket.texts.length, 202);
});

Deno.test("Hub.deliver() keeps what must not be conflated in line with what may", async () => {
  const bench = new Bench(CONFLATED);
  const slow = bench.read(selectPatterns(["cursors", "news"]));
  slow.socket.stall();
  await bench.publish(move("a", 0));
  await bench.publish(move("a", 1));
  for (const text of ["x", "y"]) await bench.publish(createDraft(text, { from: { id: "a" } }));
  await bench.publish(move("a", 2));
  await bench.publish(createDraft("z"));
  slow.socket.resume();
  await settle();
  assert.deepEqual(slow.socket.texts, ["a0", "x", "y", "a2", "z"]);
});

Deno.test("Hub.deliver() cuts off a conflated reader that waits for too many senders", async () => {
  const bench = new Bench(CONFLATED);
  const slow = bench.read(CURSORS);
  slow.socket.stall();
  await bench.publish(move("a", 0));
  await bench.publish(...Array.from({ length: 4_096 }, (_, i) => move(`s${i}.`, i)));
  assert.equal(slow.ended.length, 0);
  await bench.publish(move("one more", 1));
  assert.deepEqual(slow.ended.map((error) => error.code), ["slow_subscriber"]);
  slow.socket.resume();
  await settle();
  assert.deepEqual(slow.socket.texts, ["a0"], "nothing follows the end");
});

Deno.test("Hub.deliver() sends a conflated reader nothing after it unsubscribed", async () => {
  const bench = new Bench(CONFLATED);
  const client = createClient();
  bench.hub.connect(client);
  const subscription = bench.hub.subscribe(client, CURSORS);
  client.socket.stall();
  await bench.publish(move("a", 0));
  await bench.publish(move("a", 1));
  bench.hub.unsubscribe(subscription);
  client.socket.resume();
  await settle();
  assert.deepEqual(client.socket.texts, ["a0"]);
});

Deno.test("Hub.deliver() serves everybody when clients go while it delivers", () => {
  const bench = new Bench();
  const limits = { messages: 1, bytes: 1_000 };
  const clients = Array.from({ length: 20 }, (_, i) => {
    const client = bench.read(i % 2 === 0 ? NEWS : selectPatterns(["*"]), {
      limits,
      encoder: i % 3 ? TEXT : JOINED,
    });
    if (i % 4 < 2) client.socket.stall();
    return client;
  });
  bench.hub.deliver([createMessage("a")]);
  bench.hub.deliver([createMessage("b")]);
  for (const [i, { socket, ended }] of clients.entries()) {
    assert.deepEqual(socket.texts, i % 4 < 2 ? ["a"] : ["a", "b"]);
    assert.equal(ended.length, i % 4 < 2 ? 1 : 0);
  }
  assert.equal(bench.hub.clientCount, 10);
});

Deno.test("Hub counts what was published and to how many sockets it went, in messages and bytes", async () => {
  const bench = new Bench();
  const { metrics } = bench.hub;
  bench.read(NEWS);
  bench.read(NEWS, { encoder: JOINED });
  bench.read(selectPatterns(["*"]));
  bench.read(selectChannel("sports"), { id: "anna" });
  await bench.publish(
    createDraft("ab"),
    createDraft("c"),
    createDraft("no", { to: "anna", channel: "sports" }),
  );
  assert.deepEqual([metrics.publishedMessages, metrics.publishedBytes], [3, 5]);
  // Two readers got "ab" and "c", the third "ab+c", and Anna her own.
  assert.deepEqual([metrics.deliveredMessages, metrics.deliveredBytes], [7, 3 + 3 + 4 + 2]);
  await assert.rejects(bench.publish(createDraft("x".repeat(101))));
  assert.equal(metrics.publishedMessages, 3, "what was refused was not published");
});

Deno.test("Hub counts no delivery to a sender that does not get its own message back", async () => {
  for (const encoder of [TEXT, JOINED]) {
    const bench = new Bench();
    const { metrics } = bench.hub;
    const sender = bench.read(NEWS, { encoder });
    bench.read(NEWS, { encoder, echo: true });
    await bench.publish(createDraft("own", { socketId: sender.socket.id }), createDraft("other"));
    assert.deepEqual(sender.socket.texts, ["other"]);
    assert.equal(metrics.deliveredMessages, 3);
    assert.equal(metrics.deliveredBytes, (encoder === TEXT ? 8 : 9) + 5);
  }
});

Deno.test("Hub counts connections by protocol", () => {
  const { hub } = new Bench();
  const [a, b] = [createClient(), createClient()];
  hub.connect(a);
  hub.connect(b);
  hub.disconnect(a);
  hub.disconnect(a);
  assert.deepEqual(hub.metrics.connections.get("fake"), { opened: 2, open: 1 });
});

Deno.test("Hub takes the time from publish to the last socket, once for each message that is new", async () => {
  const bench = new Bench();
  let now = 0;
  const { now: realNow } = performance;
  performance.now = () => now;
  try {
    const encode = (message: Message) => (now += 5, new Frame(textOf(message)));
    bench.read(NEWS, { encoder: { kind: "single", encode } });
    const first = bench.hub.publish(createDraft("a", { idempotencyKey: "k" }));
    now += 10;
    await bench.publish(createDraft("b"));
    await first;
  } finally {
    performance.now = realNow;
  }
  const { latency } = bench.hub.metrics;
  assert.deepEqual([latency.count, latency.sum], [2, 20 + 10]);
  await bench.publish(createDraft("a", { idempotencyKey: "k" }));
  assert.equal(latency.count, 2);
});

Deno.test("Hub.deliver() looks each channel of a batch up once, however many lists are subscribed to", async () => {
  const bench = new Bench();
  const clients = Array.from({ length: 200 }, (_, i) => bench.read(selectPatterns(["room/*", `own${i}`])));
  const match = PatternIndex.prototype.match;
  let calls = 0;
  PatternIndex.prototype.match = function <T>(this: PatternIndex<T>, channel: string): Set<T> {
    calls++;
    return match.call(this, channel) as Set<T>;
  };
  try {
    const drafts = Array.from({ length: 50 }, (_, i) => createDraft(`${i}`, { channel: `room/${i % 25}` }));
    await bench.publish(...drafts);
  } finally {
    PatternIndex.prototype.match = match;
  }
  // Once for each channel, and once for each publisher, who is told how many subscribers there are.
  assert.ok(calls <= 25 + 50, `${calls} look-ups`);
  for (const { socket } of clients) {
    assert.deepEqual(socket.texts, Array.from({ length: 50 }, (_, i) => `${i}`));
  }
});
