/**
 * The publishers of the soak that POST: most wait for their answer, some hang up in the middle of the body, and some
 * before the answer, to send the same again with the same Idempotency-Key.
 */
import { encodeHead, RawConnection } from "../bench/raw_connection.ts";
import type { ChannelLedger } from "./ledger.ts";
import type { Random } from "./random.ts";
import type { Stage } from "./stage.ts";

/** Milliseconds between two messages of one publisher. */
const PAUSE = [20, 180] as const;

export class SoakPublisher {
  readonly name: string;
  readonly #stage: Stage;
  readonly #random: Random;
  readonly #client: Deno.HttpClient;
  /** How many messages it has published on each channel. */
  readonly #numbers = new Map<ChannelLedger, number>();
  #abandoned = 0;

  constructor(stage: Stage, name: string, client: Deno.HttpClient) {
    this.name = name;
    this.#stage = stage;
    this.#random = stage.createRandom(name);
    this.#client = client;
  }

  /** Publishes until the play ends. */
  async run(): Promise<void> {
    try {
      for (;;) {
        await this.#stage.pause(this.#random.between(...PAUSE));
        if (this.#stage.stopping) return;
        const channel = this.#pickChannel();
        switch (this.#random.choose({ whole: 94, half: 3, twice: 3 })) {
          case "whole":
            await this.publish(channel);
            break;
          case "half":
            await this.#publishHalf(channel);
            break;
          case "twice":
            await this.#publishTwice(channel);
            break;
        }
      }
    } catch (error) {
      this.#stage.ledger.fault(`${this.name}: ${error instanceof Error ? error.stack : error}`);
    }
  }

  /** Publishes one message and waits until it is acknowledged. */
  async publish(channel: ChannelLedger): Promise<void> {
    const key = this.#begin(channel);
    await this.#post(channel, key, key + this.#pad(channel));
  }

  #pickChannel(): ChannelLedger {
    const { channels } = this.#stage.ledger;
    const weights = Object.fromEntries(channels.map(({ weight }, index) => [index, weight]));
    return channels[Number(this.#random.choose(weights))]!;
  }

  #begin(channel: ChannelLedger): string {
    const number = this.#numbers.get(channel) ?? 0;
    this.#numbers.set(channel, number + 1);
    return channel.begin(this.name, number);
  }

  #pad(channel: ChannelLedger): string {
    return "~".repeat(channel.padding(this.#random));
  }

  async #post(channel: ChannelLedger, key: string, body: string): Promise<void> {
    const response = await fetch(`${this.#stage.url}/${channel.name}`, {
      method: "POST",
      body,
      headers: { "idempotency-key": key },
      client: this.#client,
    });
    const answer = await response.text();
    if (!response.ok) throw new Error(`POST ${channel.name} was answered ${response.status} ${answer}`);
    channel.acknowledge(key, JSON.parse(answer).offset);
  }

  /** A request whose body never ends is nothing. */
  async #publishHalf(channel: ChannelLedger): Promise<void> {
    const key = channel.begin(`${this.name}.${++this.#abandoned}`, 0);
    channel.forbid(key);
    const body = key + this.#pad(channel);
    await this.#send(channel, key, body.length + 10, body);
  }

  /** Nobody knows whether a request without an answer was taken: sent again, it must count once. */
  async #publishTwice(channel: ChannelLedger): Promise<void> {
    const key = this.#begin(channel);
    const body = key + this.#pad(channel);
    await this.#send(channel, key, body.length, body);
    await this.#post(channel, key, body);
  }

  /** Sends a request and hangs up. */
  async #send(channel: ChannelLedger, key: string, length: number, body: string): Promise<void> {
    this.#stage.counts.abandoned++;
    using connection = await RawConnection.open(this.#stage.port);
    const headers = {
      host: `127.0.0.1:${this.#stage.port}`,
      "idempotency-key": key,
      "content-length": length,
    };
    connection.send(encodeHead(`POST /${channel.name} HTTP/1.1`, headers));
    connection.send(new TextEncoder().encode(body));
    // The answer comes, or nothing does: some wait for it a moment, some do not.
    await this.#stage.pause(this.#random.between(0, 10));
  }
}
