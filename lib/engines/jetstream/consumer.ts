/**
 * Follows a stream in order, for the JetStream engine: an ephemeral push consumer without acknowledgements, with flow
 * control. It ends at the first sign of a missing message; the link then opens another.
 */
import { AckPolicy, DeliverPolicy, type JetStreamManager } from "@nats-io/jetstream";
import { createInbox, type Msg, type NatsConnection } from "@nats-io/transport-node";

/** The interval of heartbeats while idle, and the silence after which the consumer is given up. */
const HEARTBEAT_MILLISECONDS = 1_000;
const SILENCE_MILLISECONDS = 3_000;
const NANOSECONDS_PER_MILLISECOND = 1_000_000;

/** The status of control messages: heartbeats and flow control, https://docs.nats.io "headers". */
const STATUS_IDLE = 100;

export interface ConsumerOptions {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly stream: string;
  /** The first sequence to deliver. */
  readonly from: number;
  readonly headersOnly?: boolean;
  /**
   * Called with each message, its sequence, and when the server stored it, in milliseconds since 1970.
   */
  onMessage(message: Msg, sequence: number, stored: number): void;
  /**
   * Called at least every second while it is idle, with the sequence up to which its server has looked: what was not
   * delivered up to there has been removed. A follower that is behind has not looked as far as the stream goes.
   */
  onIdle(end: number): void;
  /** Called once, when the consumer cannot continue. */
  onEnd(reason: string): void;
}

export class JetStreamConsumer {
  readonly #options: ConsumerOptions;
  readonly #inbox = createInbox();
  #name: string | undefined;
  /** How many messages were delivered. */
  #delivered = 0;
  #lastHeard = performance.now();
  #ended = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly #subscription;

  private constructor(options: ConsumerOptions) {
    this.#options = options;
    this.#subscription = options.connection.subscribe(this.#inbox, {
      callback: (error, message) => {
        if (error !== null) this.#end(error.message);
        else this.#receive(message);
      },
    });
  }

  /** @throws errors of the server or connection */
  static async open(options: ConsumerOptions): Promise<JetStreamConsumer> {
    const consumer = new JetStreamConsumer(options);
    try {
      const { name } = await options.manager.consumers.add(options.stream, {
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: options.from,
        ack_policy: AckPolicy.None,
        deliver_subject: consumer.#inbox,
        headers_only: options.headersOnly ?? false,
        flow_control: true,
        idle_heartbeat: HEARTBEAT_MILLISECONDS * NANOSECONDS_PER_MILLISECOND,
        max_deliver: 1,
        mem_storage: true,
        num_replicas: 1,
      });
      consumer.#name = name;
      consumer.#lastHeard = performance.now();
      // It may have ended in the meantime.
      if (!consumer.#ended) consumer.#timer = setInterval(() => consumer.#check(), HEARTBEAT_MILLISECONDS);
    } catch (error) {
      consumer.stop();
      throw error;
    }
    return consumer;
  }

  /** Stops listening. The server deletes the ephemeral consumer after a while. */
  stop(): void {
    this.#ended = true;
    clearInterval(this.#timer);
    this.#subscription.unsubscribe();
  }

  /** Stops, and deletes the consumer on the server immediately. */
  async close(): Promise<void> {
    this.stop();
    if (this.#name === undefined) return;
    await this.#options.manager.consumers.delete(this.#options.stream, this.#name).catch(() => {});
  }

  #receive(message: Msg): void {
    if (this.#ended) return;
    this.#lastHeard = performance.now();
    if (message.headers?.code === STATUS_IDLE) return this.#receiveStatus(message);
    // $JS.ACK.<stream>.<consumer>.<times>.<sequence>.<delivered>.<time>.<pending>, or with domain and account first
    // and a token last.
    const tokens = message.reply?.split(".") ?? [];
    const start = tokens.length === 9 ? 4 : 6;
    const [sequence, delivered, time] = tokens.slice(start + 1, start + 4).map(Number);
    if (sequence === undefined || time === undefined) {
      return this.#end("its server sends no sequences");
    }
    if (delivered !== ++this.#delivered) return this.#end("messages were lost on the way");
    this.#options.onMessage(message, sequence, Math.floor(time / NANOSECONDS_PER_MILLISECOND));
  }

  #receiveStatus(message: Msg): void {
    // Flow control: the reply says that everything before it has been processed.
    if (message.reply !== undefined && message.reply !== "") message.respond();
    const stalled = message.headers?.get("Nats-Consumer-Stalled");
    if (stalled) this.#options.connection.publish(stalled);
    const last = message.headers?.get("Nats-Last-Consumer");
    if (!last) return;
    if (Number(last) > this.#delivered) return this.#end("messages were lost on the way");
    const end = message.headers?.get("Nats-Last-Stream");
    if (end && Number(last) === this.#delivered) this.#options.onIdle(Number(end));
  }

  #check(): void {
    if (performance.now() - this.#lastHeard > SILENCE_MILLISECONDS) this.#end("its server is silent");
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.stop();
    this.#options.onEnd(reason);
  }
}
