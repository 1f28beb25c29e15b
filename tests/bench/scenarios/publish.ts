/**
 * Publishing over HTTP: how many messages of 64 bytes are stored and acknowledged in a second, by log and by
 * requests in flight. As many keep-alive connections as requests in flight POST to one channel without a reader,
 * each one request at a time. Every answer must be 200, and the offsets that they carry must be 1 to the number of
 * answers, each once. At the end the channel must hold as many. With retention as it is by default.
 *
 * A commit that is forced to the disk takes what the disk takes, however many messages it holds: group commit shows
 * in the rate with 256 in flight over the rate with 1.
 */
import { type Check, type Figure, median, Meter } from "../measure.ts";
import { formatNumber } from "../table.ts";
import { createPayload } from "../numbering.ts";
import { encodeRequest, HttpConnection } from "../raw_http.ts";
import type { Scenario } from "../scenario.ts";
import { DataDirectory, type LogKind, ServerProcess } from "../server_process.ts";

const LOGS: readonly LogKind[] = ["memory", "sqlite normal", "sqlite full"];
const IN_FLIGHT = [1, 32, 256] as const;
/** Until the server's code is compiled; with many connections, as that takes a number of requests. */
const WARM_UP_MILLISECONDS = 1_000;
const WARM_UP_IN_FLIGHT = 32;
const SETTLE_MILLISECONDS = 100;
const MEASURED_MILLISECONDS = 1_200;
const LEAST_GAIN = 10;
const SYNCS = 50;

const FSYNC_LABEL = "fsync of 4 KB";
const GAIN_LABEL = "sqlite full, gain of group commit";

export const PUBLISH: Scenario = {
  name: "publish",
  summary: "POSTs a second with 1, 32 and 256 in flight, by log",
  deadline: 60,
  run,
  check,
};

async function run(): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const log of LOGS) {
    await using directory = await DataDirectory.create();
    if (log === "sqlite full") figures.push(await measureSync(directory.path));
    await using server = await ServerProcess.start({ log, directory: directory.path });
    using posters = new Posters(server.port);
    await posters.post(WARM_UP_IN_FLIGHT, WARM_UP_MILLISECONDS);
    for (const inFlight of IN_FLIGHT) {
      await posters.post(inFlight, SETTLE_MILLISECONDS);
      const meter = new Meter(server.pid);
      const { rate, cost } = meter.stop(await posters.post(inFlight, MEASURED_MILLISECONDS));
      const ratios = [
        ...(log === "memory" ? [] : [{ label: label("memory", inFlight), name: "memory" }]),
        ...(inFlight === 1 ? [] : [{ label: label(log, 1), name: "1 in flight" }]),
      ];
      figures.push({ label: label(log, inFlight), value: rate, unit: "/s", cost, ratios });
    }
    await posters.checkStored();
  }
  return [...figures, compareCommits(figures)];
}

/** Taken from one run, whose rates were measured side by side: other load on the machine comes and goes. */
function compareCommits(figures: readonly Figure[]): Figure {
  const rate = (inFlight: number) =>
    figures.find((it) => it.label === label("sqlite full", inFlight))?.value ?? NaN;
  return { label: GAIN_LABEL, value: rate(256) / rate(1), unit: "x" };
}

function check(medians: ReadonlyMap<string, Figure>): readonly Check[] {
  const gain = medians.get(GAIN_LABEL)?.value ?? NaN;
  return [{
    passed: gain >= LEAST_GAIN,
    text: `group commit: 256 in flight publish ${formatNumber(gain)} times as much as 1 in flight at ` +
      `synchronous=full, and should ${LEAST_GAIN} times`,
  }];
}

function label(log: LogKind, inFlight: number): string {
  return `${log}, ${inFlight} in flight`;
}

/** Connections that POST as fast as they are answered, and what they were answered. */
class Posters implements Disposable {
  readonly #port: number;
  readonly #request = encodeRequest("POST", "/publish", createPayload(1));
  readonly #connections: HttpConnection[] = [];
  /** How often each offset was answered; index 0 is not used. */
  readonly #answered: number[] = [0];
  #count = 0;

  constructor(port: number) {
    this.#port = port;
  }

  /** Posts for a while on some connections; resolves to the number of answers when all are there. */
  async post(inFlight: number, milliseconds: number): Promise<number> {
    while (this.#connections.length < inFlight) {
      this.#connections.push(await HttpConnection.open(this.#port));
    }
    const before = this.#count;
    const end = performance.now() + milliseconds;
    await Promise.all(
      this.#connections.slice(0, inFlight).map(async (connection) => {
        do this.#note(await connection.exchange(this.#request)); while (performance.now() < end);
      }),
    );
    return this.#count - before;
  }

  /** @throws {Error} unless each offset was answered once, and the channel ends with the last of them */
  async checkStored(): Promise<void> {
    for (let offset = 1; offset <= this.#count; offset++) {
      const times = this.#answered[offset] ?? 0;
      if (times !== 1) throw new Error(`Offset ${offset} was answered ${times} times`);
    }
    using connection = await HttpConnection.open(this.#port);
    const { body } = await connection.exchange(encodeRequest("GET", "/publish?limit=1"));
    const offset = readOffset(body);
    if (offset !== this.#count) {
      throw new Error(`${this.#count} messages were acknowledged, and the log ends at ${offset}`);
    }
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections) connection[Symbol.dispose]();
  }

  #note({ status, body }: { readonly status: number; readonly body: string }): void {
    if (status !== 200) throw new Error(`A POST was answered ${status}: ${body}`);
    const offset = readOffset(body);
    this.#answered[offset] = (this.#answered[offset] ?? 0) + 1;
    this.#count++;
  }
}

function readOffset(body: string): number {
  const start = body.indexOf('"offset":') + 9;
  return parseInt(body.slice(start, start + 15), 10);
}

/** What the disk takes for one forced write: the least that a commit at synchronous=full can take. */
async function measureSync(directory: string): Promise<Figure> {
  const path = `${directory}/sync`;
  const times: number[] = [];
  {
    using file = await Deno.open(path, { write: true, create: true });
    const page = new Uint8Array(4_096).fill(1);
    for (let i = 0; i < SYNCS; i++) {
      file.writeSync(page);
      const start = performance.now();
      file.syncSync();
      times.push(performance.now() - start);
    }
  }
  await Deno.remove(path);
  return { label: FSYNC_LABEL, value: median(times), unit: "ms" };
}
