/** Runs the suite of the Log port on an engine behind a MessagePort, and tests what only that arrangement promises. */
import assert from "node:assert/strict";
import { selectPatterns } from "../../../lib/core/channel.ts";
import type { Log } from "../../../lib/core/log.ts";
import type { Message } from "../../../lib/core/message.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { EngineHost } from "../../../lib/engines/worker/host.ts";
import { openWorkerEngine, type WorkerEngine } from "../../../lib/engines/worker/engine.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import { openSqliteEngine } from "../../../lib/engines/sqlite/engine.ts";
import { createDraft } from "../../fakes/message.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { type OpenLogOptions, testLog } from "../../suites/log_suite.ts";

/** Puts an engine behind a port. Disposing the Log that comes back disposes the engine too. */
async function putBehindPort(log: Log & { sweep?(): void }): Promise<Log> {
  const host = new EngineHost({ log });
  const worker = await attach(host);
  const close = worker[Symbol.asyncDispose].bind(worker);
  return Object.assign(worker, {
    sweep: () => log.sweep?.(),
    async [Symbol.asyncDispose]() {
      await close();
      await host[Symbol.asyncDispose]();
    },
  });
}

async function attach(host: EngineHost): Promise<WorkerEngine> {
  const { port1, port2 } = new MessageChannel();
  host.attach(port1);
  return await openWorkerEngine(port2);
}

testLog(
  "WorkerEngine over MemoryEngine",
  (options: OpenLogOptions) => putBehindPort(new MemoryEngine(options)),
);

testLog("WorkerEngine over SqliteEngine", async (options: OpenLogOptions) => {
  const folder = await Deno.makeTempDir({ prefix: "worker-engine-" });
  const log = await putBehindPort(
    openSqliteEngine({ ...options, path: `${folder}/log.db`, logger: new RecordingLogger() }),
  );
  const close = log[Symbol.asyncDispose].bind(log);
  return Object.assign(log, {
    async [Symbol.asyncDispose]() {
      await close();
      await Deno.remove(folder, { recursive: true });
    },
  });
});

Deno.test("EngineHost announces every message to all workers and its own thread in one order", async () => {
  const host = new EngineHost({ log: new MemoryEngine({ rules: new Rules() }) });
  const logs = [host.log, await attach(host), await attach(host), await attach(host)];
  const seen = logs.map((log) => {
    const sequences: number[] = [];
    log.onStored = (messages) => sequences.push(...messages.map(({ sequence }) => sequence));
    return sequences;
  });
  const receipts = await Promise.all(
    Array.from({ length: 400 }, (_, i) => logs[i % 4]!.append(createDraft(`${i}`))),
  );
  // What a worker announces after its own last receipt comes with the answer to any later question.
  await Promise.all(logs.map((log) => log.append(createDraft("last"))));
  await Promise.all(logs.map((log) => log.clear("nothing")));
  const all = Array.from({ length: 404 }, (_, i) => i + 1);
  for (const sequences of seen) assert.deepEqual(sequences, all);
  assert.deepEqual(receipts.map(({ sequence }) => sequence).sort((a, b) => a - b), all.slice(0, 400));
  for (const worker of logs.slice(1)) await worker[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
});

Deno.test("WorkerEngine announces a message before the receipt and the page that know of it", async () => {
  await using log = await putBehindPort(new MemoryEngine({ rules: new Rules() }));
  let announced = 0;
  log.onStored = (messages) => announced = messages.at(-1)!.sequence;
  for (let i = 1; i <= 50; i++) {
    const { sequence } = await log.append(createDraft(`${i}`));
    assert.ok(announced >= sequence);
    assert.equal(log.top.sequence, announced);
    const page = await log.read({ selector: selectPatterns(["**"]), after: { kind: "latest" }, limit: 1 });
    assert.ok(announced >= page.messages[0]!.sequence);
  }
});

Deno.test("EngineHost holds publishers back while a worker is behind, and lets go when it is gone", async () => {
  const host = new EngineHost({ log: new MemoryEngine({ rules: new Rules() }), maxBehindBytes: 1_000 });
  const { port1, port2 } = new MessageChannel();
  const detach = host.attach(port1);
  // A worker whose loop is stuck: it takes nothing.
  const publisher = await attach(host);
  const receipts: number[] = [];
  const publish = (text: string) =>
    publisher.append(createDraft(text)).then(({ offset }) => receipts.push(offset));
  await publish("x".repeat(2_000));
  const held = publish("held");
  const heldHere = host.log.append(createDraft("published by the engine's thread")).then(({ offset }) =>
    receipts.push(offset)
  );
  await publisher.read({ selector: selectPatterns(["**"]), after: { kind: "earliest" }, limit: 1 });
  await publisher.state.read("a");
  assert.deepEqual(receipts, [1], "reads go on, the other messages wait");
  detach();
  await Promise.all([held, heldHere]);
  assert.deepEqual(receipts.toSorted(), [1, 2, 3]);
  port2.close();
  await publisher[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
});

Deno.test("WorkerEngine carries every field of a message, and bytes as bytes", async () => {
  const inner = new MemoryEngine({ rules: new Rules() });
  const host = new EngineHost({ log: inner });
  const worker = await attach(host);
  const direct: Message[] = [];
  const carried: Message[] = [];
  host.log.onStored = (messages) => direct.push(...messages);
  worker.onStored = (messages) => carried.push(...messages);
  const bytes = { kind: "bytes", bytes: new Uint8Array([0, 255, 13]) } as const;
  await worker.append({ channel: "a", payload: bytes });
  await worker.append({ channel: "a", payload: { kind: "json", text: '{"a":\u2028 1e2}' }, event: "e" });
  await worker.append({
    channel: "b",
    payload: { kind: "text", text: "\ud83d\ude00 \u0000" },
    from: { id: "i", name: "n", user: "u", info: "[1]" },
    socketId: "s",
    properties: { retain: true, qos: 2, user: [["k", "v"], ["k", "w"]] },
  });
  await worker.append({ channel: "c", payload: bytes, to: "i" });
  assert.deepEqual(carried, direct);
  const query = { selector: selectPatterns(["**"]), after: { kind: "earliest" }, limit: 10 } as const;
  assert.deepEqual((await worker.read(query)).messages, (await inner.read(query)).messages);
  await worker[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
});

Deno.test("WorkerEngine keeps the order of all that is asked in one turn, each draft with its bytes and its receipt", async () => {
  const host = new EngineHost({ log: new MemoryEngine({ rules: new Rules() }) });
  const worker = await attach(host);
  const stored: Message[] = [];
  worker.onStored = (messages) => stored.push(...messages);
  const bytes = (byte: number) => ({ kind: "bytes", bytes: new Uint8Array([byte]) }) as const;
  const text = (text: string) => ({ kind: "text", text }) as const;
  // As large as what goes together at most.
  const large = text("x".repeat(9 * 1024 * 1024));
  const [first, second, third, cleared, fourth, fifth, sixth] = await Promise.all([
    worker.append({ channel: "a", payload: bytes(1) }),
    worker.append({ channel: "a", payload: text("\ud83d"), ttl: 60 }),
    worker.append({ channel: "a", payload: bytes(2), ephemeral: true }),
    worker.clear("a"),
    worker.append({ channel: "a", payload: bytes(3) }),
    worker.append({ channel: "b", payload: large }),
    worker.append({ channel: "b", payload: large, event: "e" }),
  ]);
  assert.equal(cleared, 2);
  assert.deepEqual([first, second, third, fourth].map(({ offset }) => offset), [1, 2, 0, 3]);
  assert.deepEqual([fifth, sixth].map(({ offset, duplicate }) => [offset, duplicate]), [[1, false], [
    2,
    false,
  ]]);
  assert.deepEqual(
    stored.map(({ payload, event }) => [payload, event]),
    [bytes(1), text("\ud83d"), bytes(2), bytes(3), large].map((payload) => [payload, undefined])
      .concat([[large, "e"]] as never),
  );
  await worker[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
});

Deno.test("WorkerEngine hides private channels of a wildcard as the engine's own thread does", async () => {
  const host = new EngineHost({ log: new MemoryEngine({ rules: new Rules() }) });
  host.isPrivate = (channel) => channel.startsWith("private-");
  const worker = await attach(host);
  for (const channel of ["private-a", "b", "private-c"]) {
    await worker.append({ channel, payload: { kind: "text", text: channel } });
  }
  const read = async (hides?: (channel: string) => boolean) => {
    const selector = { ...selectPatterns(["**"]), ...(hides && { key: "** -private", hides }) };
    const page = await worker.read({ selector, after: { kind: "earliest" }, limit: 10 });
    return page.messages.map(({ channel }) => channel);
  };
  assert.deepEqual(await read(() => true), ["b"]);
  assert.deepEqual(await read(), ["private-a", "b", "private-c"]);
  await worker[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
});

Deno.test("The bus passes messages on between workers by topic, and a detached one gets none", async () => {
  const host = new EngineHost({ log: new MemoryEngine({ rules: new Rules() }) });
  const [one, two] = [await attach(host), await attach(host)];
  const { promise, resolve } = Promise.withResolvers<string>();
  two.bus.subscribe("other", () => resolve("the wrong topic"));
  const stop = two.bus.subscribe("a", (bytes) => resolve(new TextDecoder().decode(bytes)));
  await two.state.read("x");
  assert.ok(one.bus.connected && one.bus.maxBytes > 100_000);
  one.bus.publish("a", new TextEncoder().encode("hello"));
  assert.equal(await promise, "hello");
  stop();
  await two.state.read("x");
  const heard: string[] = [];
  host.log.bus!.subscribe("a", (bytes) => heard.push(new TextDecoder().decode(bytes)));
  one.bus.publish("a", new TextEncoder().encode("again"));
  await one.state.read("x");
  assert.deepEqual(heard, ["again"]);
  await one[Symbol.asyncDispose]();
  await two[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
});
