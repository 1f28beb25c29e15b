/** An ephemeral push consumer of the simulated JetStream, without acknowledgements, with heartbeats while idle. */
import { type Owner, START, type VirtualTime } from "../virtual_time.ts";
import { encodeHeader, NOTHING } from "./connection.ts";
import type { SimulatedNats } from "./server.ts";
import type { Copy, SimulatedStream } from "./stream.ts";

export interface PushOptions {
  readonly deliver_subject: string;
  readonly opt_start_seq: number;
  readonly headers_only?: boolean;
  /** Nanoseconds. */
  readonly idle_heartbeat: number;
}

interface Options {
  readonly name: string;
  readonly stream: SimulatedStream;
  readonly options: PushOptions;
  readonly time: VirtualTime;
  readonly owner: Owner;
  readonly nats: SimulatedNats;
  /** The copy it reads. */
  readonly copy: Copy;
}

/** It is removed when nobody has listened for so many heartbeats. */
const MOST_UNHEARD = 5;

export class PushConsumer {
  readonly #options: Options;
  #next: number;
  #delivered = 0;
  #lastSent = 0;
  #unheard = 0;
  #stopped = false;

  constructor(options: Options) {
    this.#options = options;
    // As NATS 2.9 does: it begins with what its server gets next, though that be before what was asked for.
    const { stream, copy } = options;
    this.#next = Math.min(options.options.opt_start_seq, Math.min(stream.last, copy.last) + 1);
    this.#watch();
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Delivers what there is. */
  pump(): void {
    const { name, stream, options, time, nats, copy } = this.#options;
    const { deliver_subject: subject, headers_only: headersOnly } = options;
    if (this.#stopped || nats.isElecting || !nats.hears(subject)) return;
    const next = () => stream.next(this.#next, copy.last);
    for (let message = next(); message !== undefined; message = next()) {
      this.#next = message.seq + 1;
      this.#delivered++;
      this.#lastSent = time.now;
      const pending = stream.countFrom(this.#next, copy.last);
      const nanoseconds = (START + message.at) * 1_000_000;
      const place = `${message.seq}.${this.#delivered}.${nanoseconds}.${pending}`;
      const ack = `$JS.ACK.${stream.config.name}.${name}.1.${place}`;
      // The subject is the message's own; it goes to who listens to the consumer's.
      nats.push(subject, { ...message, reply: ack, data: headersOnly ? NOTHING : message.data });
    }
  }

  #watch(): void {
    const { options, time, owner, nats } = this.#options;
    const interval = options.idle_heartbeat / 1_000_000;
    time.after(interval, () => {
      if (this.#stopped) return;
      this.#unheard = nats.hears(options.deliver_subject) ? 0 : this.#unheard + 1;
      if (this.#unheard > MOST_UNHEARD) return this.stop();
      if (!nats.isElecting && time.now - this.#lastSent >= interval) this.#beat();
      this.#watch();
    }, owner);
  }

  #beat(): void {
    const { stream, options, nats, copy } = this.#options;
    this.pump();
    // It has looked as far as its copy goes.
    this.#next = Math.max(this.#next, Math.min(stream.last, copy.last) + 1);
    nats.deliver({
      subject: options.deliver_subject,
      reply: undefined,
      header: encodeHeader("100 Idle Heartbeat", {
        "Nats-Last-Consumer": this.#delivered,
        "Nats-Last-Stream": this.#next - 1,
      }),
      data: NOTHING,
    });
  }
}
