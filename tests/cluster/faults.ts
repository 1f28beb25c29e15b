/**
 * The promise of several machines: three NATS servers and two nodes, each of them struck by a fault in turn, while
 * publishers publish on both nodes and readers read through a balancer. Every acknowledged message is stored exactly once,
 * and every reader sees all of them in order, or is told of a gap.
 */
import assert from "node:assert/strict";
import { Centrifuge } from "centrifuge";
import type { NatsServer } from "../nats_cluster.ts";
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
import type { ServerProcess } from "../server_process.ts";
import { describeDifferences, readSettledCopies } from "./nats_copies.ts";
import { Nodes, STREAM } from "./nodes.ts";

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

/** The official client, on all channels: what it sees of each, in order, until the end or until it is stopped. */
async function readCentrifuge(url: string, signal: AbortSignal): Promise<ReadonlyMap<string, Seen>> {
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
      // Its first position is of no epoch: when there are messages already, that is no position to recover from.
      if (wasRecovering && !recovered && history.messages.length > 0) history.gaps++;
    });
    subscription.on("publication", ({ data, offset }) => {
      history.messages.push({ id: String(offset), data });
      if (data.startsWith(END)) resolve();
    });
    subscription.subscribe();
    return promise;
  });
  client.connect();
  const stopped = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  await Promise.race([Promise.all(ended), stopped]);
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

/** What happens to a server, and how it ends. */
export interface Fault {
  readonly name: string;
  /** Whether NATS may be at fault: then its servers' copies are compared first. */
  readonly mayBeOfNats?: boolean;
  strike(server: NatsServer | ServerProcess): Promise<void>;
  end(server: NatsServer | ServerProcess): Promise<void>;
}

export interface Figures {
  /** What was measured, in lines. */
  readonly text: string;
  /** Whether NATS has broken its own promise, so that nothing was checked; the text tells how. */
  readonly isOfNats: boolean;
}

/**
 * Runs rounds of a fault, on each server in turn. Where the copies of the NATS servers differ afterwards, which they must
 * not whatever Raindrops does, that is what the figures say, and nothing else is checked.
 *
 * @returns the figures
 * @throws {AssertionError} if an acknowledged message is lost, stored twice, or missed by a reader who is told of no gap
 */
export async function runFaults(fault: Fault, rounds: number): Promise<Figures> {
  const rules = [{ channels: "fault/*", history: { messages: 10_000_000 } }];
  await using nodes = await Nodes.start({ nodes: 2, natsServers: 3, rules });
  const { balancer: { url }, nats, servers } = nodes;
  const stop = new AbortController();
  const balanced: Place = {
    url,
    async ready() {
      stop.signal.throwIfAborted();
      await pause();
    },
  };

  const readers = Promise.all([
    readEvents(balanced, "/fault/*?since=earliest", CHANNELS.length),
    readEvents(balanced, "/fault/*?since=earliest", CHANNELS.length),
    readLines(balanced, `/${CHANNELS.join(",")}`, CHANNELS.length),
    readEvents(balanced, "/fault/a?since=earliest", 1),
  ]);
  const clients = Promise.all([readCentrifuge(url, stop.signal), readCentrifuge(url, stop.signal)]);

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
  for (let round = 0; round < rounds; round++) {
    for (const { name, server } of faults) {
      await acknowledged.more(ACKNOWLEDGED);
      acknowledged.longestPause = 0;
      await fault.strike(server);
      await acknowledged.more(ACKNOWLEDGED);
      await fault.end(server);
      pauses.set(name, [...pauses.get(name) ?? [], acknowledged.longestPause]);
    }
  }
  await acknowledged.more(ACKNOWLEDGED);
  const seconds = (performance.now() - start) / 1_000;
  running = false;
  await Promise.all(publishers);
  for (const channel of CHANNELS) acknowledged.add(await publish(balanced, channel, `${END}-${channel}`));
  const figures = [
    `${rounds * faults.length} ${fault.name}s, ${acknowledged.messages.length} acknowledged messages, ` +
    `${seconds.toFixed(0)} s. Longest pause between acknowledgements, in ms:`,
    ...pauses.entries().map(([name, list]) => `  ${name}: ${list.map(Math.round).join(" ")}`),
  ];
  const differences = fault.mayBeOfNats
    ? describeDifferences(await readSettledCopies(nats.hosts, STREAM, nats.servers.length))
    : [];
  if (differences.length > 0) {
    readers.catch(() => {});
    stop.abort();
    await clients;
    const verdict = "NATS has not kept its servers' copies the same, so nothing was checked:";
    return { text: [...figures, verdict, ...differences].join("\n"), isOfNats: true };
  }

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

  const gaps = [first, second, lines, single, ...seen.flatMap((client) => [...client.values()])]
    .reduce((sum, { gaps }) => sum + gaps, 0);
  return { text: [...figures, `${gaps} gaps told`].join("\n"), isOfNats: false };
}
