/**
 * Fan-out: messages of 64 bytes from one WebSocket to all readers of a channel. In flight is what was published and
 * has not been received by all; as soon as all have a message, the next one is published. Each reader checks that it
 * gets every message once and in order. The clock runs until the last of them has everything; a delivery is one
 * message to one reader. The log is `memory:`.
 */
import { type Check, type Figure, Meter } from "../measure.ts";
import { Publisher } from "../publisher.ts";
import { Reader, type ReaderProtocol } from "../reader.ts";
import type { Scenario } from "../scenario.ts";
import { DataDirectory, ServerProcess } from "../server_process.ts";
import { formatNumber } from "../table.ts";

const READERS = [100, 1_000] as const;
const CASES: readonly { readonly protocol: ReaderProtocol; readonly inFlight: readonly number[] }[] = [
  { protocol: "WebSocket", inFlight: [1, 16, 128] },
  { protocol: "SSE", inFlight: [128] },
  { protocol: "NDJSON", inFlight: [128] },
];
const WARM_UP_MILLISECONDS = 300;
const MEASURED_MILLISECONDS = 1_000;
/** Connections that are opened at the same time. */
const OPENED_AT_ONCE = 50;

export const FAN_OUT: Scenario = {
  name: "fan-out",
  summary: "deliveries a second to 100 and 1,000 readers with 1, 16 and 128 messages in flight",
  deadline: 90,
  run,
  check: (): readonly Check[] => [],
};

async function run(): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const readers of READERS) {
    for (const { protocol, inFlight } of CASES) {
      await using directory = await DataDirectory.create();
      await using server = await ServerProcess.start({ log: "memory", directory: directory.path });
      figures.push(...await measure(server, protocol, readers, inFlight));
    }
  }
  return figures;
}

async function measure(
  { pid, port }: ServerProcess,
  protocol: ReaderProtocol,
  readers: number,
  inFlights: readonly number[],
): Promise<readonly Figure[]> {
  using audience = await Audience.open(protocol, port, readers);
  const figures: Figure[] = [];
  for (const inFlight of inFlights) {
    await audience.play(inFlight, WARM_UP_MILLISECONDS);
    const meter = new Meter(pid);
    const { rate, cost } = meter.stop(await audience.play(inFlight, MEASURED_MILLISECONDS) * readers);
    const base = label("WebSocket", readers, protocol === "WebSocket" ? 1 : 128);
    const name = protocol === "WebSocket" ? "1 in flight" : "WebSocket";
    const ratios = base === label(protocol, readers, inFlight) ? [] : [{ label: base, name }];
    figures.push({ label: label(protocol, readers, inFlight), value: rate, unit: "/s", cost, ratios });
  }
  return figures;
}

function label(protocol: ReaderProtocol, readers: number, inFlight: number): string {
  return `${protocol}, ${formatNumber(readers)} readers, ${inFlight} in flight`;
}

/** The readers of a channel, and the one who publishes to them. */
class Audience implements Disposable {
  readonly #readers: readonly Reader[];
  readonly #publisher: Publisher;
  /** Messages that all readers have got. */
  #complete = 0;
  /** How many readers have got each message beyond those. */
  readonly #received: number[] = [];
  #inFlight = 0;
  #publishing = false;
  #played = Promise.withResolvers<void>();

  private constructor(readers: readonly Reader[], publisher: Publisher) {
    this.#readers = readers;
    this.#publisher = publisher;
  }

  static async open(protocol: ReaderProtocol, port: number, count: number): Promise<Audience> {
    const readers: Reader[] = [];
    const channel = "fan-out";
    while (readers.length < count) {
      const some = Math.min(OPENED_AT_ONCE, count - readers.length);
      const opening = Array.from({ length: some }, () => Reader.open(protocol, port, channel));
      readers.push(...await Promise.all(opening));
    }
    const audience = new Audience(readers, await Publisher.open(port, channel));
    for (const reader of readers) void audience.#listen(reader);
    return audience;
  }

  /** Publishes for a while, and resolves to the number of messages when all readers have got them all. */
  async play(inFlight: number, milliseconds: number): Promise<number> {
    const before = this.#complete;
    this.#played = Promise.withResolvers();
    this.#inFlight = inFlight;
    this.#publishing = true;
    const timer = setTimeout(() => this.#publishing = false, milliseconds);
    this.#publish();
    try {
      await this.#played.promise;
    } finally {
      clearTimeout(timer);
    }
    return this.#complete - before;
  }

  [Symbol.dispose](): void {
    for (const reader of this.#readers) reader[Symbol.dispose]();
    this.#publisher[Symbol.dispose]();
  }

  async #listen(reader: Reader): Promise<void> {
    try {
      for (let last = reader.last; await reader.read(); last = reader.last) this.#note(last, reader.last);
    } catch (error) {
      this.#played.reject(error);
    }
  }

  /** Notes that one reader has got the messages behind `from` up to `to`. */
  #note(from: number, to: number): void {
    const received = this.#received;
    for (let i = from - this.#complete; i < to - this.#complete; i++) received[i] = (received[i] ?? 0) + 1;
    let complete = 0;
    while (received[complete] === this.#readers.length) complete++;
    if (complete === 0) return;
    received.splice(0, complete);
    this.#complete += complete;
    this.#publish();
  }

  #publish(): void {
    if (this.#publishing) this.#publisher.publishUpTo(this.#complete + this.#inFlight);
    else if (this.#complete === this.#publisher.published) this.#played.resolve();
  }
}
