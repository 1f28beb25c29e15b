/**
 * Latency at a fixed rate. Messages leave when they are due, whatever has become of earlier ones, and are timed from
 * when they were due: a server that stalls is charged for all that waited meanwhile (no coordinated omission).
 */
import { Meter, percentile } from "../measure.ts";
import { encodeClientFrame } from "./endpoint.ts";
import type { LatencyJob, LatencyResult } from "./job.ts";
import { createPayload, OrderCheck } from "../numbering.ts";
import { openConnections } from "./opener.ts";
import type { Connection, Poller } from "./poller.ts";

const CHANNEL = "latency";
const WARM_UPS = 10;
const UTF8 = new TextEncoder();
const GRACE_MILLISECONDS = 5_000;

export function measureLatency(poller: Poller, job: LatencyJob): LatencyResult {
  const { port, pids, reader, publisher, readers, perSecond } = job;
  const schedule = new Schedule(poller, job);
  openConnections(poller, {
    port,
    endpoint: reader,
    count: readers,
    channel: () => CHANNEL,
    take: () => schedule.createReader(),
  });
  const options = { port, endpoint: publisher, count: 1, channel: () => CHANNEL, take: () => () => {} };
  const connection = openConnections(poller, options)[0]!;
  // Compiles the server's code, which takes a number of messages: those of a second, all in a row, and again.
  for (let i = 0; i < WARM_UPS; i++) schedule.play(connection, perSecond, Infinity);
  schedule.play(connection, Math.round(job.warmUpMilliseconds * perSecond / 1_000), perSecond);
  const meter = new Meter(pids);
  const messages = Math.round(job.milliseconds * perSecond / 1_000);
  const times = schedule.play(connection, messages, perSecond);
  const sorted = times.toSorted((a, b) => a - b);
  return {
    ...meter.stop(messages * readers),
    p50: percentile(sorted, 50),
    p99: percentile(sorted, 99),
    p999: percentile(sorted, 99.9),
    worst: sorted.at(-1) ?? NaN,
  };
}

class Schedule {
  readonly #poller: Poller;
  readonly #job: LatencyJob;
  /** When each message is due. */
  readonly #due: number[] = [0];
  #times: number[] = [];

  constructor(poller: Poller, job: LatencyJob) {
    this.#poller = poller;
    this.#job = job;
  }

  /** Takes what one reader gets, and notes how late it is. */
  createReader(): (buffer: Uint8Array<ArrayBuffer>, length: number) => void {
    const check = new OrderCheck();
    return (buffer, length) => {
      const now = performance.now();
      let number = check.last;
      check.feed(buffer, length);
      while (number < check.last) this.#times.push(now - this.#due[++number]!);
    };
  }

  /** Publishes a number of messages, and returns how long each took to each reader. */
  play(connection: Connection, messages: number, perSecond: number): Float64Array {
    const { publisher: { before = "", after = "" }, readers, size } = this.#job;
    this.#times = [];
    const start = performance.now();
    for (let i = 0; i < messages; i++) {
      const due = start + i * 1_000 / perSecond;
      // Not waiting for the last millisecond: a timer of the system would be late by as much as is measured here.
      for (let wait = due - performance.now(); wait > 0; wait = due - performance.now()) {
        this.#poller.turn(0, Math.max(0, Math.floor(wait) - 1));
      }
      const payload = new TextDecoder().decode(createPayload(this.#due.length, size));
      this.#due.push(due);
      connection.send(encodeClientFrame(UTF8.encode(before + payload + after)));
    }
    const deadline = performance.now() + GRACE_MILLISECONDS;
    while (this.#times.length < messages * readers) {
      this.#poller.turn(0, 0);
      if (performance.now() > deadline) throw new Error("Messages were missing long after they were due");
    }
    return Float64Array.from(this.#times);
  }
}
