/**
 * One soak: starts the real server, lets publishers and readers loose on it, ends the play, and tells what was found.
 * The `soak` task and its short version in the tests call it.
 */
import { startServer } from "../server_process.ts";
import { CentrifugeActor } from "./centrifuge_actor.ts";
import { Gauge, type Range } from "./gauge.ts";
import { type ChannelPlan, Ledger } from "./ledger.ts";
import { ServerMetrics } from "./metrics.ts";
import { SoakPublisher } from "./publisher.ts";
import { SoakReader } from "./reader.ts";
import { type Counts, Stage } from "./stage.ts";
import { Witness } from "./witness.ts";

export interface SoakOptions {
  readonly seconds: number;
  readonly seed: number;
  /** Flags of the server, such as `["--listener", "node"]`. */
  readonly flags: readonly string[];
  /** Called now and then with a line on how it goes. */
  readonly onProgress?: (line: string) => void;
}

export interface SoakReport {
  /** What went wrong, one sentence each; empty when nothing did. */
  readonly faults: readonly string[];
  readonly acknowledged: number;
  readonly stored: number;
  readonly deliveries: number;
  readonly gaps: number;
  readonly counts: Counts;
  /** Milliseconds that 99 in 100 messages reached their readers' sockets within, and timers were late by. */
  readonly latency: number;
  readonly lag: number;
  readonly memory: Range;
  readonly heap: Range;
  /** Descriptors before the first client came, at most, and after the last one had gone. */
  readonly descriptors: { readonly start: number; readonly peak: number; readonly end: number };
}

const CHANNELS: readonly ChannelPlan[] = [
  // Busy enough that whoever sleeps a while finds its history gone.
  { name: "soak/hot", weight: 10, sizes: [10, 100] },
  { name: "soak/warm", weight: 4, sizes: [10, 1_000] },
  { name: "soak/cool", weight: 2, sizes: [10, 1_000] },
  { name: "soak/cold", weight: 0.2, sizes: [10, 100] },
  // Large enough that whoever stalls a while is cut off.
  { name: "soak/large", weight: 2, sizes: [8_000, 30_000] },
];
const PUBLISHERS = 8;
const READERS_PER_KIND = 7;
const TALKERS = 5;
const CENTRIFUGE_ACTORS = 4;
const PATTERN_READERS = 2;

/** A run from here on has long stalls and absences. */
const LONG_SECONDS = 180;
/** A run from here on tells growth from the ups and downs of a heap. */
const JUDGED_SECONDS = 900;
const SAMPLE_MILLISECONDS = 1_000;
const PROGRESS_SAMPLES = 60;
/** By how much the heap may rise, in MiB a minute: a leak of 0.3 is seen in 20 minutes. */
export const HEAP_SLOPE = 0.2;
/** By how much, in MiB, the second half's lowest may be above the first half's: pages come back when they come back. */
const MEMORY_RISE = 48;
/** Descriptors that the server may open for itself as it goes. */
const SPARE_DESCRIPTORS = 4;

export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  await using server = await startServer({ flags: options.flags });
  const ledger = new Ledger(CHANNELS);
  const isLong = options.seconds >= LONG_SECONDS;
  const stage = new Stage({ port: server.port, ledger, seed: options.seed, isLong });
  const gauge = new Gauge(server);
  const start = await gauge.sample();

  const client = Deno.createHttpClient({});
  const witnesses = ledger.channels.map((channel) => new Witness(stage, channel));
  const publishers = Array.from(
    { length: PUBLISHERS },
    (_, i) => new SoakPublisher(stage, `post${i}`, client),
  );
  const centrifuges = createCentrifuges(stage);
  const readers = createReaders(stage);
  const watching = Promise.all(witnesses.map((witness) => witness.run()));
  const publishing = Promise.all([...publishers, ...centrifuges].map((actor) => actor.run()));
  const reading = Promise.all(readers.map((reader) => reader.run()));

  await watch(stage, gauge, server.lines, options);
  stage.stop();
  await publishing;
  const everybody = [...readers, ...centrifuges];
  // The last word on each channel: who has it and misses nothing before has all.
  const last = new SoakPublisher(stage, "last", client);
  if (ledger.faults.length === 0) {
    for (const channel of ledger.channels) await last.publish(channel);
    await stage.until(
      "the witnesses have seen the last messages",
      () => witnesses.every((w) => w.isCaughtUp),
    );
    await stage.until("all readers have got all", () => everybody.every((reader) => reader.isCaughtUp));
    ledger.settle();
  }
  for (const actor of [...readers, ...witnesses]) actor.finish();
  await Promise.all(centrifuges.map((actor) => actor.finish()));
  await Promise.all([watching, reading]);
  client.close();

  await stage.until(
    "the server knows of no client any more",
    async () => (await ServerMetrics.read(stage.url)).sum("raindrops_connections") === 0,
  );
  const metrics = await ServerMetrics.read(stage.url);
  const stored = sum(ledger.channels.map(({ length }) => length));
  const published = metrics.sum("raindrops_published_messages_total");
  if (published < stored) ledger.fault(`The server counts ${published} messages and stored ${stored}`);
  let end = start;
  await stage.until("the server has closed what clients left", async () => {
    end = await gauge.sample();
    return end.descriptors <= start.descriptors + SPARE_DESCRIPTORS;
  });
  const [memory, heap] = [gauge.range("memory"), gauge.range("heap")];
  if (options.seconds >= JUDGED_SECONDS) {
    if (heap.slope > HEAP_SLOPE) ledger.fault(`The heap rises: ${formatRange(heap)}`);
    if (memory.second - memory.first > MEMORY_RISE) ledger.fault(`Memory rises: ${formatRange(memory)}`);
  }
  const status = await server.stop();
  if (status?.code !== 0) ledger.fault(`The server ended with ${status?.code ?? "no status"}`);
  return {
    faults: ledger.faults,
    acknowledged: sum(ledger.channels.map(({ acknowledged }) => acknowledged)),
    stored,
    deliveries: ledger.deliveries,
    gaps: ledger.gaps,
    counts: stage.counts,
    latency: metrics.quantile("raindrops_delivery_latency_seconds", 0.99),
    lag: metrics.quantile("raindrops_event_loop_lag_seconds", 0.99),
    memory,
    heap,
    descriptors: {
      start: start.descriptors,
      peak: Math.max(...gauge.samples.map(({ descriptors }) => descriptors)),
      end: end.descriptors,
    },
  };
}

function createReaders(stage: Stage): SoakReader[] {
  const { channels } = stage.ledger;
  const readers: SoakReader[] = [];
  for (const kind of ["socket", "events", "lines"] as const) {
    for (let i = 0; i < READERS_PER_KIND; i++) {
      const channel = channels[i % channels.length]!;
      readers.push(
        new SoakReader(stage, `${kind}${i}`, { kind, channels: [channel], path: `/${channel.name}` }),
      );
    }
  }
  for (let i = 0; i < TALKERS; i++) {
    const channel = channels[i % channels.length]!;
    const options = { kind: "socket" as const, channels: [channel], path: `/${channel.name}`, talks: true };
    readers.push(new SoakReader(stage, `talker${i}`, options));
  }
  for (let i = 0; i < PATTERN_READERS; i++) {
    for (const kind of ["events", "lines"] as const) {
      readers.push(new SoakReader(stage, `all-${kind}${i}`, { kind, channels, path: "/soak/*" }));
    }
  }
  return readers;
}

function createCentrifuges(stage: Stage): CentrifugeActor[] {
  const { channels } = stage.ledger;
  return Array.from({ length: CENTRIFUGE_ACTORS }, (_, i) => {
    const own = [channels[i % channels.length]!, channels[(i + 1) % channels.length]!];
    return new CentrifugeActor(stage, `centrifuge${i}`, own, i % 2 === 0 ? "json" : "protobuf");
  });
}

/** Waits until the time is up or something is wrong; samples and looks at the server's log meanwhile. */
async function watch(stage: Stage, gauge: Gauge, lines: string[], options: SoakOptions): Promise<void> {
  const { ledger, counts } = stage;
  ledger.onFault = () => stage.stop();
  const deadline = performance.now() + options.seconds * 1_000;
  while (!stage.stopping && performance.now() < deadline) {
    await stage.pause(Math.min(SAMPLE_MILLISECONDS, deadline - performance.now()));
    const sample = await gauge.sample();
    for (const line of lines.splice(0)) {
      if (line.startsWith("error: ")) ledger.fault(`The server says: ${line}`);
    }
    if (gauge.samples.length % PROGRESS_SAMPLES !== 0) continue;
    const stored = sum(ledger.channels.map(({ length }) => length));
    options.onProgress?.(
      `${Math.round(sample.time)} s: ${stored} messages, ${ledger.deliveries} deliveries, ` +
        `${counts.resumes} resumes, ${counts.vanished} vanished, ${ledger.gaps} gaps, ${counts.cuts} cut off, ` +
        `${Math.round(sample.memory / 1024 ** 2)} MiB, ${sample.descriptors} descriptors`,
    );
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function formatRange({ slope, first, second, peak }: Range): string {
  return `${slope.toFixed(2)} MiB more a minute, ${first.toFixed(0)} MiB at least in the first half, ${
    second.toFixed(0)
  } MiB in the second, ` +
    `${peak.toFixed(0)} MiB at most`;
}

/** The report as lines for people. */
export function formatReport(report: SoakReport): string {
  const { counts, memory, descriptors } = report;
  return [
    `messages      ${report.stored} stored, ${report.acknowledged} of them acknowledged, ${counts.abandoned} abandoned`,
    `deliveries    ${report.deliveries}`,
    `connections   ${counts.connects}, ${counts.resumes} of them resumes, ${counts.vanished} vanished without a word`,
    `slow readers  ${counts.stalls} stalls, ${counts.cuts} cut off`,
    `gaps told     ${report.gaps}`,
    `latency       99 % of messages within ${report.latency} ms, of timers within ${report.lag} ms`,
    `memory        ${formatRange(memory)}`,
    `heap          ${formatRange(report.heap)}`,
    `descriptors   ${descriptors.start} before, ${descriptors.peak} at most, ${descriptors.end} after`,
    ...report.faults.map((fault) => `FAULT         ${fault}`),
  ].join("\n");
}
