/** MQTT across crashes: kills a server under publishers and subscribers with persistent sessions. */
import assert from "node:assert/strict";
import mqtt, { type MqttClient } from "mqtt";
import { startServer } from "../../server_process.ts";
import { StrictReader } from "./strict_reader.ts";

/** Between two kills, each topic brings the message that is this many after the last confirmed one. */
const STEP = 8;
/** Messages that a publisher has unacknowledged. */
const WINDOW = 4;

interface Publisher {
  readonly topic: string;
  /** How many of its messages are acknowledged; they are the first ones. */
  confirmed: number;
  readonly done: Promise<void>;
}

function findFreePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Connects MQTT.js, which comes back by itself and sends again what was not acknowledged. */
function connect(port: number, clientId: string): MqttClient {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    clientId,
    clean: false,
    reconnectPeriod: 20,
    connectTimeout: 5_000,
  });
  client.on("error", () => {});
  return client;
}

/** Publishes 1, 2, 3, ... on a topic until told to stop. */
function startPublisher(client: MqttClient, topic: string, qos: 1 | 2, signal: AbortSignal): Publisher {
  const publisher = { topic, confirmed: 0, done: Promise.resolve() };
  const publish = async () => {
    const waiting: Promise<unknown>[] = [];
    for (let i = 1; !signal.aborted || waiting.length > 0; i++) {
      if (!signal.aborted) waiting.push(client.publishAsync(topic, `${i}`, { qos }));
      if (waiting.length < WINDOW && !signal.aborted) continue;
      await waiting.shift();
      publisher.confirmed++;
    }
  };
  publisher.done = publish();
  return publisher;
}

/**
 * Kills a server a number of times under publishers and subscribers, and asserts: QoS 1 arrives at least once, QoS 2 exactly
 * once, each in order per topic.
 *
 * @param engine makes the `--engine` of a directory that is removed in the end
 */
export async function killUnderLoad(kills: number, engine: (directory: string) => string): Promise<void> {
  const directory = await Deno.makeTempDir();
  const rules = `${directory}/rules.json`;
  await Deno.writeTextFile(rules, JSON.stringify([{ channels: "**", history: { messages: 1_000_000 } }]));
  const port = findFreePort();
  await using server = await startServer({
    flags: ["--engine", engine(directory), "--rules", rules, "--log-level", "warn", "--mqtt-port", `${port}`],
  });
  const clients: MqttClient[] = [];
  const open = (clientId: string) => {
    const client = connect(port, clientId);
    clients.push(client);
    return client;
  };
  const received = new Map<string, number[]>();
  const strict = new Map<string, number[]>();
  let changed = () => {};
  const note = (all: Map<string, number[]>, topic: string, text: string) => {
    const numbers = all.get(topic) ?? [];
    all.set(topic, numbers);
    numbers.push(Number(text));
    changed();
  };
  const listen = async (clientId: string, filter: string, qos: 1 | 2) => {
    const client = open(clientId);
    client.on("message", (topic, payload) => note(received, topic, payload.toString()));
    await client.subscribeAsync(filter, { qos });
  };
  const until = async (isDone: () => boolean) => {
    while (!isDone()) await new Promise<void>((resolve) => changed = resolve);
  };
  await listen("reader-1", "one/+", 1);
  await listen("reader-2", "two/#", 2);
  await using _reader = await StrictReader.open(
    port,
    "reader-3",
    "two/#",
    (topic, text) => note(strict, topic, text),
  );
  const stop = new AbortController();
  const publishers = ([["one/a", 1], ["one/b", 1], ["two/a", 2], ["two/b/c", 2]] as const).map(
    ([topic, qos], i) => startPublisher(open(`writer-${i}`), topic, qos, stop.signal),
  );
  for (let i = 0; i < kills; i++) {
    const goals = publishers.map(({ topic, confirmed }) => ({ topic, goal: confirmed + STEP + i % 3 }));
    await until(() => goals.every(({ topic, goal }) => (received.get(topic) ?? []).includes(goal)));
    await server.kill();
    await server.start();
  }
  stop.abort();
  await Promise.all(publishers.map(({ done }) => done));
  const hasAll = (all: Map<string, number[]>, { topic, confirmed }: Publisher) =>
    all.get(topic)?.includes(confirmed) === true;
  await until(() =>
    publishers.every((publisher) =>
      hasAll(received, publisher) && (publisher.topic.startsWith("one/") || hasAll(strict, publisher))
    )
  );
  for (const { topic, confirmed } of publishers) {
    assert.ok(confirmed >= kills * (STEP - WINDOW));
    const wanted = Array.from({ length: confirmed }, (_, i) => i + 1);
    // Not as a document, which ends after a thousand.
    const lines = await (await fetch(`${server.url}/${topic}?export=ndjson`)).text();
    const texts = lines.trim().split("\n").map((line) => Number(JSON.parse(line).data));
    const got = received.get(topic) ?? [];
    if (topic.startsWith("two/")) {
      assert.deepEqual(texts, wanted, `stored on ${topic}`);
      assert.deepEqual(got, wanted, `received on ${topic}`);
      assert.deepEqual(strict.get(topic), wanted, `received at once on ${topic}`);
    } else {
      // In order, but for repetitions.
      assert.deepEqual([...new Set(texts)], wanted, `stored on ${topic}`);
      assert.deepEqual([...new Set(got)], wanted, `received on ${topic}`);
    }
  }
  await Promise.all(clients.map((client) => client.endAsync(true)));
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
  await server.stop();
  await Deno.remove(directory, { recursive: true });
}
