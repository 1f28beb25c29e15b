/**
 * Handover from history to live under load: a publisher keeps 128 messages in flight on a channel that already holds
 * 20,000, and readers of every streaming protocol join one after another with since=earliest. Each must get every
 * message from the first to the last published one, once and in order. The time to live is the time from a reader's
 * request until it has got a message that was, at that moment, among those in flight.
 */
import { type Check, type Figure, median, Meter, pause } from "../measure.ts";
import { fillChannel, Publisher } from "../publisher.ts";
import { Reader, type ReaderProtocol } from "../reader.ts";
import type { Scenario } from "../scenario.ts";
import type { Server } from "../child.ts";
import { DataDirectory, type LogKind, startRaindrops } from "../raindrops.ts";

const CHANNEL = "handover";
const LOGS: readonly LogKind[] = ["memory", "sqlite normal"];
const PROTOCOLS: readonly ReaderProtocol[] = ["NDJSON", "SSE", "WebSocket"];
const READERS = 9;
const STORED = 20_000;
const IN_FLIGHT = 128;
const JOIN_PAUSE_MILLISECONDS = 50;
/** Publishing goes on for this long after the last reader has joined, or until all are live. */
const MOST_MILLISECONDS = 3_000;

export const HANDOVER: Scenario = {
  name: "handover",
  summary: "readers that join a busy channel with since=earliest: nothing lost, time to live",
  deadline: 60,
  run,
  check,
};

async function run(): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const log of LOGS) {
    await using directory = await DataDirectory.create();
    await using server = await startRaindrops({ log, directory: directory.path, keepAll: true });
    figures.push(...await measure(log, server));
  }
  return figures;
}

async function measure(log: LogKind, { pid, port }: Server): Promise<readonly Figure[]> {
  await fillChannel(port, CHANNEL, STORED);
  using control = await Reader.open("WebSocket", port, CHANNEL, { first: STORED + 1 });
  using publisher = await Publisher.open(port, CHANNEL, STORED);
  const load = new Load(publisher, control);
  const meter = new Meter([pid]);
  const publishing = load.publish();
  const joining: Promise<Joined>[] = [];
  for (let i = 0; i < READERS; i++) {
    joining.push(join(PROTOCOLS[i % PROTOCOLS.length]!, port, load));
    await pause(JOIN_PAUSE_MILLISECONDS);
  }
  const joined = Promise.all(joining);
  // Attached now, as a failure must end the run and not the process.
  const failed = joined.then(() => {});
  await Promise.race([load.waitUntilLive(READERS), pause(MOST_MILLISECONDS), failed]);
  load.finish();
  await publishing;
  const readers = await joined;
  const { rate, cost } = meter.stop(publisher.published - STORED);

  const times = PROTOCOLS.map((protocol) => ({
    label: `${log}, ${protocol}, time to live`,
    value: median(readers.filter((reader) => reader.protocol === protocol).map(({ time }) => time)),
    unit: "ms" as const,
  }));
  const caughtUp = readers.filter(({ underLoad }) => underLoad).length / READERS;
  return [
    { label: `${log}, published meanwhile`, value: rate, unit: "/s", cost },
    ...times,
    { label: caughtUpLabel(log), value: caughtUp, unit: "x" },
  ];
}

function check(medians: ReadonlyMap<string, Figure>): readonly Check[] {
  return LOGS.map((log) => {
    const share = medians.get(caughtUpLabel(log))?.value ?? NaN;
    return {
      passed: share === 1,
      text: `${log}: ${
        Math.round(share * READERS)
      } of ${READERS} readers got live while the publisher kept going`,
    };
  });
}

function caughtUpLabel(log: LogKind): string {
  return `${log}, share live under load`;
}

/** What became of one reader. */
interface Joined {
  readonly protocol: ReaderProtocol;
  /** Milliseconds from its request until it was live. */
  readonly time: number;
  /** Whether it got live before the publisher stopped. */
  readonly underLoad: boolean;
}

/** A publisher that keeps messages in flight to a reader that was there from the start. */
class Load {
  readonly #publisher: Publisher;
  readonly #control: Reader;
  readonly #allLive = Promise.withResolvers<void>();
  #live = 0;
  #final = Infinity;
  #wanted = Infinity;

  constructor(publisher: Publisher, control: Reader) {
    this.#publisher = publisher;
    this.#control = control;
  }

  /** Number of the last message of all; unknown while publishing goes on. */
  get final(): number {
    return this.#final;
  }

  /** Publishes until it is told to finish, and resolves when the control reader has got it all. */
  async publish(): Promise<void> {
    while (this.#control.last < this.#final) {
      const next = Math.min(this.#control.last + IN_FLIGHT, this.#final);
      this.#publisher.publishUpTo(next);
      await this.#control.read();
    }
  }

  /** Lets one more message be the last. It wakes readers that have everything else. */
  finish(): void {
    this.#final = this.#publisher.published + 1;
    this.#publisher.publishUpTo(this.#final);
  }

  /** Whether what a reader got last is among the messages in flight. */
  isLive(reader: Reader): boolean {
    return reader.last >= this.#control.last;
  }

  noteLive(): void {
    if (++this.#live === this.#wanted) this.#allLive.resolve();
  }

  waitUntilLive(count: number): Promise<void> {
    this.#wanted = count;
    if (this.#live >= count) this.#allLive.resolve();
    return this.#allLive.promise;
  }
}

/** Reads from the first message to the last one. */
async function join(protocol: ReaderProtocol, port: number, load: Load): Promise<Joined> {
  const start = performance.now();
  using reader = await Reader.open(protocol, port, CHANNEL, { sinceEarliest: true, bufferSize: 65_536 });
  let live: { readonly time: number; readonly underLoad: boolean } | undefined;
  while (reader.last < load.final) {
    await reader.read();
    if (live !== undefined || !load.isLive(reader)) continue;
    live = { time: performance.now() - start, underLoad: load.final === Infinity };
    load.noteLive();
  }
  return { protocol, ...live ?? { time: performance.now() - start, underLoad: false } };
}
