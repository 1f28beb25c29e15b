/**
 * Official Centrifuge clients in the soak: they subscribe with recovery, publish, and lose their connection now and
 * then, behind a proxy that can be cut. They come back by themselves; what they get goes to the ledger.
 */
import { Centrifuge, type PublicationContext, type SubscribedContext, type Subscription } from "centrifuge";
import { Centrifuge as ProtobufCentrifuge } from "centrifuge/build/protobuf";
import { TcpProxy } from "../fakes/tcp_proxy.ts";
import type { ChannelLedger } from "./ledger.ts";
import type { Random } from "./random.ts";
import type { Stage } from "./stage.ts";
import type { Track } from "./track.ts";

/** What the server recovers at most for a client; beyond it the client is told that it was not recovered. */
const RECOVERED_MESSAGES = 300;
const RECOVERED_BYTES = 1024 * 1024;
/** Milliseconds. */
const PAUSE = [50, 500] as const;
const OFFLINE = [50, 3_000] as const;
const LONG_OFFLINE = [10_000, 40_000] as const;

export class CentrifugeActor {
  readonly name: string;
  readonly #stage: Stage;
  readonly #random: Random;
  readonly #channels: readonly ChannelLedger[];
  readonly #proxy: TcpProxy;
  readonly #client: Centrifuge;
  readonly #encode: (text: string) => unknown;
  readonly #decode: (data: unknown) => string;
  readonly #tracks: Track[] = [];
  /** How often it has changed its name, and how many messages it has published under it on each channel. */
  #names = 0;
  readonly #numbers = new Map<ChannelLedger, number>();

  constructor(stage: Stage, name: string, channels: readonly ChannelLedger[], encoding: "json" | "protobuf") {
    this.name = name;
    this.#stage = stage;
    this.#channels = channels;
    this.#random = stage.createRandom(name);
    this.#proxy = new TcpProxy(stage.port);
    const url = `ws://127.0.0.1:${this.#proxy.port}/connection/websocket`;
    const options = { minReconnectDelay: 20, maxReconnectDelay: 500 };
    if (encoding === "json") {
      this.#client = new Centrifuge(url, options);
      this.#encode = (text) => text;
      this.#decode = String;
    } else {
      this.#client = new ProtobufCentrifuge(url, options) as unknown as Centrifuge;
      this.#encode = (text) => new TextEncoder().encode(JSON.stringify(text));
      this.#decode = (data) => readProtobufText(data as Uint8Array);
    }
  }

  get isCaughtUp(): boolean {
    return this.#tracks.every((track) => track.isCaughtUp);
  }

  /** Connects and plays until the play ends; stays connected then. */
  async run(): Promise<void> {
    try {
      this.#client.on("error", () => {/* It reconnects; what it misses shows. */});
      const subscriptions = this.#channels.map((channel) => this.#subscribe(channel));
      this.#client.connect();
      await Promise.all(subscriptions.map((subscription) => subscription.ready(30_000)));
      while (!this.#stage.stopping) {
        await this.#stage.pause(this.#random.between(...PAUSE));
        if (this.#stage.stopping) break;
        const ways = { publish: 90, cut: 5, leave: 4, sleep: this.#stage.isLong ? 0.2 : 0 };
        switch (this.#random.choose(ways)) {
          case "publish":
            await this.#publish(this.#random.pick(this.#channels));
            break;
          case "cut":
            this.#stage.counts.vanished++;
            await this.#cut(OFFLINE);
            break;
          case "sleep":
            this.#stage.counts.vanished++;
            await this.#cut(LONG_OFFLINE);
            break;
          case "leave":
            this.#client.disconnect();
            await this.#stage.pause(this.#random.between(...OFFLINE));
            this.#client.connect();
            break;
        }
      }
    } catch (error) {
      this.#stage.ledger.fault(`${this.name}: ${error instanceof Error ? error.stack : error}`);
    }
  }

  async finish(): Promise<void> {
    this.#client.disconnect();
    await this.#proxy[Symbol.asyncDispose]();
  }

  /** Breaks the network for a while. */
  async #cut(range: readonly [number, number]): Promise<void> {
    this.#proxy.cut();
    await this.#stage.pause(this.#random.between(...range));
    this.#proxy.refuses = false;
  }

  #subscribe(channel: ChannelLedger): Subscription {
    const track = channel.follow(this.name);
    this.#tracks.push(track);
    const subscription = this.#client.newSubscription(channel.name, { recoverable: true, positioned: true });
    subscription.on("subscribed", (context) => this.#take(channel, track, context));
    subscription.on("publication", (context: PublicationContext) => {
      track.take(this.#decode(context.data), context.offset);
    });
    subscription.on("unsubscribed", ({ code, reason }) => {
      this.#stage.ledger.fault(`${this.name} was unsubscribed from ${channel.name}: ${code} ${reason}`);
    });
    subscription.subscribe();
    return subscription;
  }

  #take(channel: ChannelLedger, track: Track, context: SubscribedContext): void {
    const { counts } = this.#stage;
    counts.connects++;
    const { wasRecovering, recovered, streamPosition } = context;
    if (wasRecovering) counts.resumes++;
    // The missed messages follow, from where it was.
    if (wasRecovering && recovered) return;
    if (streamPosition === undefined) {
      return this.#stage.ledger.fault(`${this.name} got no position on ${channel.name}`);
    }
    const kept = Math.min(RECOVERED_MESSAGES, Math.floor(RECOVERED_BYTES / channel.largest));
    if (wasRecovering) track.takeGap(kept);
    track.takeStart(streamPosition.offset);
  }

  /** Publishes and waits for the answer. Without one nobody knows: whoever goes on has another name. */
  async #publish(channel: ChannelLedger): Promise<void> {
    const key = channel.begin(`${this.name}.${this.#names}.${channel.name}`, this.#numberOn(channel));
    try {
      await this.#client.publish(
        channel.name,
        this.#encode(key + "~".repeat(channel.padding(this.#random))),
      );
      channel.acknowledge(key);
    } catch {
      this.#names++;
      this.#numbers.clear();
    }
  }

  #numberOn(channel: ChannelLedger): number {
    const number = this.#numbers.get(channel) ?? 0;
    this.#numbers.set(channel, number + 1);
    return number;
  }
}

/** Text comes as JSON if a Centrifuge client sent it so, else as it is. */
function readProtobufText(data: Uint8Array): string {
  const text = new TextDecoder().decode(data);
  return text.startsWith('"') ? JSON.parse(text) : text;
}
