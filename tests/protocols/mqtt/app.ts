/** A Raindrops with both doors of MQTT open, MQTT.js clients that end with the test, and raw connections. */
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from "mqtt";
import { startApp, type TestApp } from "../../test_app.ts";

export interface MqttApp extends TestApp {
  readonly mqttPort: number;
}

/** Starts an app with `--mqtt-port 0`. */
export async function startMqtt(...settings: readonly string[]): Promise<MqttApp> {
  const app = await startApp("--mqtt-port", "0", ...settings);
  const [fields] = app.logger.find("listening for mqtt");
  return { ...app, mqttPort: Number(fields?.port), [Symbol.asyncDispose]: () => app[Symbol.asyncDispose]() };
}

export interface TestClient extends AsyncDisposable {
  readonly client: MqttClient;
  /** The next message. */
  next(): Promise<{ readonly topic: string; readonly text: string; readonly packet: IPublishPacket }>;
  /** The number of messages that have come and not been taken. */
  readonly waiting: number;
}

/** Connects MQTT.js, by TCP or by a WebSocket. */
export async function connect(
  app: MqttApp,
  options: IClientOptions & { readonly door?: "tcp" | "ws" } = {},
): Promise<TestClient> {
  const { door = "tcp", ...rest } = options;
  return await connectTo(
    door === "tcp" ? `mqtt://127.0.0.1:${app.mqttPort}` : `${app.socketUrl}/mqtt`,
    rest,
  );
}

/** Connects MQTT.js to a URL, `mqtt:` or `ws:`. Rejects with what it is refused with. */
export async function connectTo(url: string, options: IClientOptions = {}): Promise<TestClient> {
  const client = mqtt.connect(url, { reconnectPeriod: 0, connectTimeout: 5_000, ...options });
  const messages: { topic: string; text: string; packet: IPublishPacket }[] = [];
  let wake: (() => void) | undefined;
  client.on("message", (topic, payload, packet) => {
    messages.push({ topic, text: payload.toString(), packet });
    wake?.();
  });
  client.on("error", () => {});
  const first = await new Promise<unknown>((resolve) => {
    client.once("connect", () => resolve(undefined));
    client.once("error", resolve);
  });
  if (first !== undefined) {
    client.end(true);
    throw first;
  }
  return {
    client,
    get waiting() {
      return messages.length;
    },
    async next() {
      const signal = AbortSignal.timeout(5_000);
      while (messages.length === 0) {
        signal.throwIfAborted();
        await new Promise<void>((resolve, reject) => {
          wake = resolve;
          signal.onabort = () => reject(new Error("No message came"));
        });
      }
      return messages.shift()!;
    },
    async [Symbol.asyncDispose]() {
      await client.endAsync(true);
      // MQTT.js closes its stores in timers of 0 ms that it does not wait for.
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
    },
  };
}

/** A bare connection to the port. */
export class RawClient implements Disposable {
  readonly #conn: Deno.Conn;

  private constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  static async open({ mqttPort }: MqttApp): Promise<RawClient> {
    return new RawClient(await Deno.connect({ hostname: "127.0.0.1", port: mqttPort }));
  }

  /** @param hex bytes in hexadecimal, spaces allowed */
  async send(hex: string): Promise<void> {
    const bytes = Uint8Array.fromHex(hex.replaceAll(" ", ""));
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** The next bytes, as hexadecimal text; "" when the server has closed the connection. */
  async read(count: number): Promise<string> {
    const bytes = new Uint8Array(count);
    let at = 0;
    while (at < count) {
      const part = await this.#conn.read(bytes.subarray(at)).catch(() => null);
      if (part === null) break;
      at += part;
    }
    return bytes.subarray(0, at).toHex();
  }

  /** Everything until the server closes the connection. */
  async readAll(): Promise<string> {
    return await this.read(65_536);
  }

  /** Says that nothing more will be sent. */
  async finish(): Promise<void> {
    await this.#conn.closeWrite().catch(() => {});
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }
}
