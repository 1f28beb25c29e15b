/**
 * Replay: 100,000 stored messages of 64 bytes, read from the earliest on by one reader over NDJSON, SSE and
 * WebSocket as fast as it can. Memory: one reader, which is fast or takes its time, of a server that was started anew
 * on the file and holds nothing yet; the peak is the operating system's (VmHWM). Resuming: a reader behind the 10th
 * newest message must get its 9 messages in a time that does not depend on the length of the log, which is measured
 * on a log of 1,000 messages too.
 */
import { type Check, type Figure, median, Meter, pause, readMemory, resetPeak } from "../measure.ts";
import { PAYLOAD_SIZE } from "../numbering.ts";
import { fillChannel } from "../publisher.ts";
import { encodeRequest, HttpConnection } from "../raw_http.ts";
import { Reader, type ReaderProtocol } from "../reader.ts";
import type { Scenario } from "../scenario.ts";
import type { Server } from "../child.ts";
import { DataDirectory, type LogKind, type RaindropsOptions, startRaindrops } from "../raindrops.ts";
import { formatNumber } from "../table.ts";

const CHANNEL = "replay";
const LOGS: readonly LogKind[] = ["memory", "sqlite normal"];
const PROTOCOLS: readonly ReaderProtocol[] = ["NDJSON", "SSE", "WebSocket"];
/** How often the whole channel is read while a rate is measured, after once without measuring. */
const REPLAYS = 3;
const LONG = 100_000;
const SHORT = 1_000;
/** A slow reader takes this much at once and then pauses: about 6 MB a second. */
const SLOW_READ_BYTES = 16_384;
const SLOW_PAUSE_MILLISECONDS = 2;
const MOST_GROWTH_MB = 64;
const MEMORY_CASES = [
  { label: "memory growth, fast NDJSON reader", read: readAll, protocol: "NDJSON" },
  { label: "memory growth, slow NDJSON reader", read: readSlowly, protocol: "NDJSON" },
  { label: "memory growth, slow WebSocket reader", read: readSlowly, protocol: "WebSocket" },
] as const;
const NEWEST = 10;
const RESUMES = 300;
const WARM_UP_RESUMES = 100;
const MOST_RESUME_RATIO = 2;

export const REPLAY: Scenario = {
  name: "replay",
  summary: "100,000 stored messages to one reader: rate, memory, resuming near the end",
  deadline: 60,
  run,
  check,
};

async function run(): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const log of LOGS) {
    await using directory = await DataDirectory.create();
    await using server = await startFilled({ log, directory: directory.path, keepAll: true }, LONG);
    for (const protocol of PROTOCOLS) figures.push(await measureRate(log, protocol, server));
    figures.push(await measureResume(log, server, LONG), await measureShort(log));
  }
  return [...figures, ...await measureMemory()];
}

async function measureRate(log: LogKind, protocol: ReaderProtocol, server: Server): Promise<Figure> {
  await readAll(server, protocol);
  const meter = new Meter([server.pid]);
  for (let i = 0; i < REPLAYS; i++) await readAll(server, protocol);
  const { rate, cost } = meter.stop(REPLAYS * LONG);
  const ratios = log === "memory" ? [] : [{ label: `memory, ${protocol}`, name: "memory" }];
  return { label: `${log}, ${protocol}`, value: rate, unit: "/s", cost, ratios };
}

async function readAll({ port }: Server, protocol: ReaderProtocol): Promise<void> {
  using reader = await Reader.open(protocol, port, CHANNEL, { sinceEarliest: true, bufferSize: 65_536 });
  await reader.readUntil(LONG);
}

async function readSlowly({ port }: Server, protocol: ReaderProtocol): Promise<void> {
  const options = { sinceEarliest: true, bufferSize: SLOW_READ_BYTES };
  using reader = await Reader.open(protocol, port, CHANNEL, options);
  while (reader.last < LONG) {
    await reader.read();
    await pause(SLOW_PAUSE_MILLISECONDS);
  }
}

async function measureShort(log: LogKind): Promise<Figure> {
  await using directory = await DataDirectory.create();
  await using server = await startFilled({ log, directory: directory.path, keepAll: true }, SHORT);
  return await measureResume(log, server, SHORT);
}

async function measureMemory(): Promise<readonly Figure[]> {
  await using directory = await DataDirectory.create();
  const options: RaindropsOptions = { log: "sqlite normal", directory: directory.path, keepAll: true };
  await (await startFilled(options, LONG))[Symbol.asyncDispose]();
  const figures: Figure[] = [];
  for (const { label, read, protocol } of MEMORY_CASES) {
    await using server = await startRaindrops(options);
    const before = readMemory(server.pid);
    resetPeak(server.pid);
    await read(server, protocol);
    const after = readMemory(server.pid);
    // Nothing to show where there is no /proc.
    if (before === undefined || after === undefined) continue;
    if (figures.length === 0) {
      figures.push({ label: "memory of the server before", value: before.now, unit: "MB" });
    }
    figures.push({ label, value: after.peak - before.now, unit: "MB" });
  }
  return figures;
}

/** Starts a server and stores messages on its channel. */
async function startFilled(options: RaindropsOptions, count: number): Promise<Server> {
  const server = await startRaindrops(options);
  try {
    await fillChannel(server.port, CHANNEL, count);
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

/** The median time of resuming behind the 10th newest message, on one connection that is kept. */
async function measureResume(log: LogKind, { port }: Server, count: number): Promise<Figure> {
  using connection = await HttpConnection.open(port);
  const newest = await connection.exchange(encodeRequest("GET", `/${CHANNEL}?limit=${NEWEST}`));
  const id = /"id":"([^"]+)"/.exec(newest.body)?.[1] ?? "";
  const request = encodeRequest("GET", `/${CHANNEL}?since=${id}`);
  const times: number[] = [];
  for (let i = 0; i < WARM_UP_RESUMES + RESUMES; i++) {
    const start = performance.now();
    const { body } = await connection.exchange(request);
    if (i >= WARM_UP_RESUMES) times.push(performance.now() - start);
    const offsets = Array.from(body.matchAll(/"offset":(\d+),"time"/g), ([, offset]) => Number(offset));
    const expected = Array.from({ length: NEWEST - 1 }, (_, i) => count - NEWEST + 2 + i);
    if (offsets.join() !== expected.join()) {
      throw new Error(`Resuming behind ${id} gave the messages ${offsets}, not ${expected}`);
    }
  }
  const ratios = count === SHORT
    ? []
    : [{ label: resumeLabel(log, SHORT), name: `${formatNumber(SHORT)} messages` }];
  return { label: resumeLabel(log, count), value: median(times), unit: "ms", ratios };
}

function check(medians: ReadonlyMap<string, Figure>): readonly Check[] {
  const value = (label: string) => medians.get(label)?.value ?? NaN;
  const checks: Check[] = [];
  for (const { label } of MEMORY_CASES) {
    const growth = value(label);
    if (Number.isNaN(growth)) continue;
    checks.push({
      passed: growth < MOST_GROWTH_MB,
      text:
        `${label}: ${formatNumber(LONG)} messages of ${PAYLOAD_SIZE} bytes take ${
          formatNumber(growth)
        } MB, ` +
        `and should take less than ${MOST_GROWTH_MB}`,
    });
  }
  for (const log of LOGS) {
    const ratio = value(resumeLabel(log, LONG)) / value(resumeLabel(log, SHORT));
    checks.push({
      passed: ratio <= MOST_RESUME_RATIO,
      text: `${log}: resuming near the end takes ${formatNumber(ratio)} times as long with ` +
        `${formatNumber(LONG)} messages as with ${
          formatNumber(SHORT)
        }, and should at most ${MOST_RESUME_RATIO}`,
    });
  }
  return checks;
}

function resumeLabel(log: LogKind, count: number): string {
  return `${log}, resume in ${formatNumber(count)}`;
}
