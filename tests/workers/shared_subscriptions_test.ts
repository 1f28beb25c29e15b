/** Shared subscriptions of MQTT on three workers: each message goes to one member of a group, wherever the members are. */
import assert from "node:assert/strict";
import { connectTo, type TestClient } from "../protocols/mqtt/app.ts";
import { startWorkers, type TestApp } from "../test_app.ts";
import type { Death } from "./mortal_thread.ts";

/** Enough connections that each of three workers has some, but for one case in a million. */
const MANY = 15;
const MORTAL = new URL("./mortal_thread.ts", import.meta.url);

/** What the members of a group got: each message by its text, and how often. */
class Group {
  readonly counts = new Map<string, number>();
  #wake = () => {};

  add(text: string): void {
    this.counts.set(text, (this.counts.get(text) ?? 0) + 1);
    this.#wake();
  }

  /** Resolves when all of so many different messages have come. */
  async reach(count: number): Promise<void> {
    while (this.counts.size < count) await new Promise<void>((resolve) => this.#wake = resolve);
  }

  /** The messages that came more than once. */
  get repeated(): string[] {
    return [...this.counts].filter(([, count]) => count > 1).map(([text]) => text);
  }
}

async function connectMany(
  server: TestApp,
  group: Group,
  stack: AsyncDisposableStack,
): Promise<TestClient[]> {
  const clients = await Promise.all(
    Array.from({ length: MANY }, () => connectTo(`${server.socketUrl}/mqtt`, { protocolVersion: 5 })),
  );
  for (const client of clients) {
    stack.use(client);
    client.client.on("message", (_topic, payload) => group.add(payload.toString()));
  }
  return clients;
}

Deno.test("Workers give each message to one member of a shared subscription, while members come and go", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  await using stack = new AsyncDisposableStack();
  const [all, none] = [new Group(), new Group()];
  const members = await connectMany(server, all, stack);
  // A second group of one topic gets everything too.
  const others = await connectMany(server, none, stack);
  const writer = stack.use(await connectTo(`${server.socketUrl}/mqtt`, { protocolVersion: 5 }));
  const filter = "$share/g/jobs/+";
  // One member stays, so that there is always one.
  await members[0]!.client.subscribeAsync(filter, { qos: 1 });
  await Promise.all(others.map(({ client }) => client.subscribeAsync("$share/h/jobs/#", { qos: 0 })));
  let isOver = false;
  const churn = members.slice(1).map(async ({ client }) => {
    while (!isOver) {
      await client.subscribeAsync(filter, { qos: 1 });
      await client.unsubscribeAsync(filter);
    }
  });
  const count = 400;
  for (let i = 0; i < count; i += 20) {
    const batch = Array.from({ length: 20 }, (_, j) => i + j);
    await Promise.all(
      batch.map((n) => writer.client.publishAsync("jobs/x", `${n}`, { qos: n % 2 as 0 | 1 })),
    );
  }
  await Promise.all([all.reach(count), none.reach(count)]);
  isOver = true;
  await Promise.all(churn);
  assert.deepEqual([all.repeated, none.repeated], [[], []]);
});

Deno.test("Workers divide the messages of a shared subscription among all of its members", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  await using stack = new AsyncDisposableStack();
  const group = new Group();
  const members = await connectMany(server, group, stack);
  const writer = stack.use(await connectTo(`${server.socketUrl}/mqtt`));
  await Promise.all(members.map(({ client }) => client.subscribeAsync("$share/g/jobs", { qos: 1 })));
  for (let i = 0; i < 2 * MANY; i++) await writer.client.publishAsync("jobs", `${i}`, { qos: 1 });
  await group.reach(2 * MANY);
  // In turns, so that each got two.
  assert.deepEqual(members.map(({ waiting }) => waiting), Array.from({ length: MANY }, () => 2));
});

Deno.test("A worker that dies takes its members of a shared subscription along, and the others get everything", async () => {
  await using server = await startWorkers(["--workers", "3"], MORTAL);
  await using stack = new AsyncDisposableStack();
  const group = new Group();
  const members = await connectMany(server, group, stack);
  await Promise.all(members.map(({ client }) => client.subscribeAsync("$share/g/jobs", { qos: 1 })));
  const died = server.logger.find("worker died, replacing it").length;
  const channel = new BroadcastChannel("death of workers");
  channel.postMessage({ number: 1, how: "exit" satisfies Death });
  channel.close();
  while (server.logger.find("worker died, replacing it").length === died) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const writer = stack.use(await connectTo(`${server.socketUrl}/mqtt`));
  for (let i = 0; i < 2 * MANY; i++) await writer.client.publishAsync("jobs", `${i}`, { qos: 1 });
  await group.reach(2 * MANY);
  assert.deepEqual(group.repeated, []);
});
