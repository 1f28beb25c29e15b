/** A mix of channels: each with a publisher of its own, all at the same time. */
import { Meter } from "../measure.ts";
import { encodeClientFrame } from "./endpoint.ts";
import type { ChannelsJob, RateResult } from "./job.ts";
import { createPayload, OrderCheck } from "../numbering.ts";
import { openConnections } from "./opener.ts";
import type { Connection, Poller } from "./poller.ts";

const UTF8 = new TextEncoder();

/** Each channel has one message in flight: when all its readers have it, the next one is published there. */
export function mixChannels(poller: Poller, job: ChannelsJob): RateResult {
  const mix = new Mix(poller, job);
  mix.play(job.warmUpMilliseconds);
  const meter = new Meter(job.pids);
  return meter.stop(mix.play(job.milliseconds));
}

class Mix {
  readonly #poller: Poller;
  readonly #job: ChannelsJob;
  readonly #publishers: readonly Connection[];
  /** By channel: the newest message, and how many readers have yet to get it. */
  readonly #newest: number[];
  readonly #missing: number[];
  /** Channels whose message has arrived. */
  #ready: number[];
  #delivered = 0;

  constructor(poller: Poller, job: ChannelsJob) {
    this.#poller = poller;
    this.#job = job;
    const { port, channels, readersPerChannel } = job;
    this.#newest = Array<number>(channels).fill(0);
    this.#missing = Array<number>(channels).fill(0);
    this.#ready = Array.from({ length: channels }, (_, channel) => channel);
    openConnections(poller, {
      port,
      endpoint: job.reader,
      count: channels * readersPerChannel,
      channel: (index) => `mix-${index % channels}`,
      take: (index) => {
        const check = new OrderCheck();
        const channel = index % channels;
        return (buffer, length) => {
          const before = check.last;
          check.feed(buffer, length);
          if (check.last > before) this.#receive(channel);
        };
      },
    });
    this.#publishers = openConnections(poller, {
      port,
      endpoint: job.publisher,
      count: channels,
      channel: (index) => `mix-${index}`,
      take: () => () => {},
    });
  }

  /** Publishes on all channels for a while, and returns the number of deliveries when all have arrived. */
  play(milliseconds: number): number {
    const before = this.#delivered;
    const end = performance.now() + milliseconds;
    while (performance.now() < end) {
      const ready = this.#ready;
      this.#ready = [];
      for (const channel of ready) this.#publish(channel);
      this.#poller.turn();
    }
    while (this.#ready.length < this.#job.channels) this.#poller.turn();
    return this.#delivered - before;
  }

  #publish(channel: number): void {
    const { publisher: { before = "", after = "" }, readersPerChannel, size } = this.#job;
    this.#missing[channel] = readersPerChannel;
    const payload = new TextDecoder().decode(createPayload(++this.#newest[channel]!, size));
    this.#publishers[channel]!.send(encodeClientFrame(UTF8.encode(before + payload + after)));
  }

  #receive(channel: number): void {
    this.#delivered++;
    if (--this.#missing[channel]! === 0) this.#ready.push(channel);
  }
}
