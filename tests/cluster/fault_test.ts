/**
 * The promise of several machines: three NATS servers and two nodes, each of them killed without warning and started
 * again in turn, while publishers publish on both nodes and readers read through a balancer. Every acknowledged message
 * is stored exactly once, and every reader sees all of them in order, or is told of a gap.
 *
 * `FAULT_ROUNDS=10` runs ten rounds of these five faults instead of one, and prints what it measured.
 */
import assert from "node:assert/strict";
import { Centrifuge } from "centrifuge";
import { NATS_SERVER } from "../nats_cluster.ts";
import {
  END,
  type Place,
  publish,
  readEvents,
  readLines,
  readStored,
  type Seen,
  type Stored,
} from "../persistent_clients.ts";
import { Nodes } from "./nodes.ts";

const ROUNDS = Number(Deno.env.get("FAULT_ROUNDS") ?? 1);
const CHANNELS = ["fault/a", "fault/b"];
const PUBLISHERS_PER_NODE = 3;
/** Messages that are acknowledged before each fault, while it lasts, and after the last one. */
const ACKNOWLEDGED = 60;
/** Milliseconds before another try, and between the messages of one publisher. */
const PAUSE = 10;

const pause = () => new Promise<void>((resolve) => setTimeout(resolve, PAUSE));

/** The acknowledged messages, and how long there were none. */
class Acknowledged {
  readonly messages: Stored[] = [];
  longestPause = 0;
  #last = performance.now();
  #waiting: { readonly count: number; readonly resolve: () => void } | undefined;

  add(message: Stored): void {
    const now = performance.now();
    this.longestPause = Math.max(this.longestPause, now - this.#last);
    this.#last = now;
    this.messages.push(message);
    if (this.#waiting !== undefined && this.messages.length >= this.#waiting.count) this.#waiting.resolve();
  }

  /** Resolves when so many more are acknowledged. */
  async more(count: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting = { count: this.messages.length + count, resolve };
    await promise;
  }
}

/** The official client, on all channels: what it sees of each, in order. */
async function readCentrifuge(url: string): Promise<ReadonlyMap<string, Seen>> {
  const client = new Centrifuge(`${url.replace("http", "ws")}/connection/websocket`, {
    minReconnectDelay: 10,
    maxReconnectDelay: 100,
  });
  const seen = new Map<string, Seen>();
  const ended = CHANNELS.map((channel) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const history: Seen = { messages: [], gaps: 0 };
    seen.set(channel, history);
    const subscription = client.newSubscription(channel, { since: { epoch: "", offset: 0 } });
    subscription.on("subscribed", ({ wasRecovering, recovered }) => {
      if (wasRecovering && !recovered) history.gaps++;
    });
    subscription.on("publication", ({ data, offset }) => {
      history.messages.push({ id: String(offset), data });
      if (data.startsWith(END)) resolve();
    });
    subscription.subscribe();
    return promise;
  });
  client.connect();
  await Promise.all(ended);
  client.disconnect();
  return seen;
}

/** What a reader saw must be all there is; or, if it was told of a gap, some of it in the same order. */
function check(seen: Seen, expected: readonly string[], reader: string): void {
  const data = seen.messages.map(({ data }) => data);
  if (seen.gaps === 0) return assert.deepEqual(data, expected, reader);
  let at = -1;
  for (const text of data) {
    const next = expected.indexOf(text, at + 1);
    assert.ok(next > at, `${reader} saw ${text} twice or out of order`);
    at = next;
  }
}

Deno.test({
  name:
    "Nothing acknowledged is lost, doubled or missed while NATS servers and nodes are killed (nats-server)",
  ignore: NATS_SERVER === undefined,
}, async () => {
  const rules = [{ channels: "fault/*", history: { messages: 10_000_000 } }];
  await using nodes = await Nodes.start({ nodes: 2, natsServers: 3, rules });
  const { balancer: { url }, nats, servers } = nodes;
  const balanced: Place = { url, ready: pause };

  const readers = Promise.all([
    readEvents(balanced, "/fault/*?since=earliest", CHANNELS.length),
    readEvents(balanced, "/fault/*?since=earliest", CHANNELS.length),
    readLines(balanced, `/${CHANNELS.join(",")}`, CHANNELS.length),
    readEvents(balanced, "/fault/a?since=earliest", 1),
  ]);
  const clients = Promise.all([readCentrifuge(url), readCentrifuge(url)]);

  const acknowledged = new Acknowledged();
  let running = true;
  const publishers = servers.flatMap((server, node) =>
    Array.from({ length: PUBLISHERS_PER_NODE }, async (_, i) => {
      const place: Place = { url: server.url, ready: pause };
      for (let n = 0; running; n++) {
        const channel = CHANNELS[(n + i) % CHANNELS.length]!;
        acknowledged.add(await publish(place, channel, `n${node}-p${i}-${n}`));
      }
    })
  );

  const pauses = new Map<string, number[]>();
  const faults = [
    ...nats.servers.map((server) => ({ name: server.name, server })),
    ...servers.map((server, i) => ({ name: `node${i + 1}`, server })),
  ];
  const start = performance.now();
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, server } of faults) {
      await acknowledged.more(ACKNOWLEDGED);
      acknowledged.longestPause = 0;
      await server.kill();
      await acknowledged.more(ACKNOWLEDGED);
      await server.start();
      pauses.set(name, [...pauses.get(name) ?? [], acknowledged.longestPause]);
    }
  }
  await acknowledged.more(ACKNOWLEDGED);
  const seconds = (performance.now() - start) / 1_000;
  running = false;
  await Promise.all(publishers);
  for (const channel of CHANNELS) acknowledged.add(await publish(balanced, channel, `${END}-${channel}`));

  const stored = await readStored({ url: servers[1]!.url, ready: pause }, "/fault/*");
  for (const channel of CHANNELS) {
    const kept = stored.filter((message) => message.channel === channel);
    assert.deepEqual(kept.map(({ offset }) => offset), kept.map((_, i) => i + 1), "offsets have holes");
    const expected = acknowledged.messages.filter((message) => message.channel === channel);
    expected.sort((x, y) => x.offset - y.offset);
    assert.deepEqual(kept.map(({ id, offset, data }) => ({ channel, id, offset, data })), expected);
  }
  const all = stored.map(({ data }) => data);
  const textsOf = (name: string) => stored.filter(({ channel }) => channel === name).map(({ data }) => data);
  const [first, second, lines, single] = await readers;
  check(first, all, "the first event stream");
  check(second, all, "the second event stream");
  check(lines, all, "the line stream");
  check(single, textsOf("fault/a"), "the event stream of one channel");
  const seen = await clients;
  for (const client of seen) {
    for (const [channel, history] of client) {
      check(history, textsOf(channel), `a Centrifuge client of ${channel}`);
    }
  }

  if (Deno.env.has("FAULT_ROUNDS")) {
    const gaps = [first, second, lines, single, ...seen.flatMap((client) => [...client.values()])]
      .reduce((sum, { gaps }) => sum + gaps, 0);
    console.log(
      `${ROUNDS * faults.length} kills, ${acknowledged.messages.length} acknowledged messages, ` +
        `${gaps} gaps told, ${seconds.toFixed(0)} s. Longest pause between acknowledgements, in ms:`,
    );
    for (const [name, list] of pauses) console.log(`  ${name}: ${list.map(Math.round).join(" ")}`);
  }
});
