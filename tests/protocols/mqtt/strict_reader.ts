/**
 * An MQTT 3.1.1 client that takes QoS 2 messages as soon as they come, "method A" of section 4.3.3: what the server sends
 * twice under another packet id, it gets twice. MQTT.js waits for PUBREL, and would not notice.
 */
import { encodePacket, type Packet, PacketDecoder } from "../../../lib/protocols/mqtt/codec.ts";
import { PacketFramer } from "../../../lib/protocols/mqtt/framer.ts";

const PAUSE_MILLISECONDS = 20;

export class StrictReader implements AsyncDisposable {
  readonly #clientId: string;
  readonly #filter: string;
  readonly #onMessage: (topic: string, text: string) => void;
  /** Packet ids of messages that are not released, across connections. */
  readonly #taken = new Set<number>();
  readonly #subscribed = Promise.withResolvers<void>();
  readonly #running: Promise<void>;
  #conn: Deno.Conn | undefined;
  #stopped = false;

  private constructor(
    port: number,
    clientId: string,
    filter: string,
    onMessage: (topic: string, text: string) => void,
  ) {
    this.#clientId = clientId;
    this.#filter = filter;
    this.#onMessage = onMessage;
    this.#running = this.#run(port);
  }

  /** Connects, again and again, with a session that lasts; resolves once it is subscribed. */
  static async open(
    port: number,
    clientId: string,
    filter: string,
    onMessage: (topic: string, text: string) => void,
  ): Promise<StrictReader> {
    const reader = new StrictReader(port, clientId, filter, onMessage);
    await reader.#subscribed.promise;
    return reader;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    try {
      this.#conn?.close();
    } catch {
      // It is closed already, and there is no other yet.
    }
    await this.#running;
  }

  async #run(port: number): Promise<void> {
    while (!this.#stopped) {
      try {
        using conn = this.#conn = await Deno.connect({ hostname: "127.0.0.1", port });
        if (!this.#stopped) await this.#serve(conn);
      } catch {
        // The server is down.
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
    }
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    const decoder = new PacketDecoder();
    let answers: Packet[] = [{
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: 4,
      clean: false,
      clientId: this.#clientId,
      keepalive: 0,
    }];
    const framer = new PacketFramer(1_000_000);
    const buffer = new Uint8Array(16 * 1024);
    while (true) {
      for (const packet of answers) {
        const bytes = encodePacket(packet, 4);
        for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
      }
      answers = [];
      const count = await conn.read(buffer);
      if (count === null) return;
      framer.push(buffer.slice(0, count));
      for (let bytes = framer.next(); bytes !== undefined; bytes = framer.next()) {
        answers.push(...this.#answer(decoder.decode(bytes)));
      }
    }
  }

  #answer(packet: Packet): Packet[] {
    const { messageId = 0 } = packet;
    switch (packet.cmd) {
      case "connack": {
        const subscriptions = [{ topic: this.#filter, qos: 2 as const }];
        return packet.sessionPresent ? [] : [{ cmd: "subscribe", messageId: 1, subscriptions }];
      }
      case "suback":
        this.#subscribed.resolve();
        return [];
      case "publish":
        if (!this.#taken.has(messageId)) {
          this.#taken.add(messageId);
          this.#onMessage(packet.topic, packet.payload.toString());
        }
        return [{ cmd: "pubrec", messageId }];
      case "pubrel":
        this.#taken.delete(messageId);
        return [{ cmd: "pubcomp", messageId }];
      default:
        return [];
    }
  }
}
