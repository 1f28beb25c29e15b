/**
 * The doors of MQTT: WebSockets at `/mqtt`, and TCP connections on a port of its own, with TLS where there is a
 * certificate.
 */
import { describeReason } from "../../base/reason.ts";
import type { Caller } from "../../auth/callouts.ts";
import { describeListenError } from "../../base/listen_error.ts";
import { formatPermissionCure } from "../../base/task.ts";
import { MessagingError, toMessagingError } from "../../core/errors.ts";
import type { Connection } from "../../core/limits.ts";
import type { Frame, Socket, SocketHandler } from "../../core/socket.ts";
import { MqttConnection } from "./connection.ts";
import type { MqttContext } from "./context.ts";

/** Subprotocols by which a WebSocket asks for MQTT (MQTT 5.0 section 6). */
const SUBPROTOCOLS: readonly string[] = ["mqtt", "mqttv3.1"];

const READ_BYTES = 16 * 1024;

/** How long a client gets to take the last bytes. */
const LAST_BYTES_MILLISECONDS = 2_000;

/**
 * The subprotocol to answer a handshake with.
 *
 * @throws {MessagingError} `bad_handshake` when none of ours is offered
 */
export function chooseSubprotocol(request: Request): string {
  const offered = (request.headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());
  const chosen = SUBPROTOCOLS.find((name) => offered.includes(name));
  if (chosen === undefined) {
    throw new MessagingError("bad_handshake", `MQTT over WebSockets asks for the subprotocol "mqtt"`);
  }
  return chosen;
}

/** A connection over a WebSocket. */
export function openMqttSocket(
  context: MqttContext,
  connection: Connection,
  caller: Caller | undefined,
): SocketHandler {
  let mqtt: MqttConnection | undefined;
  return {
    open: (socket) => mqtt = new MqttConnection(context, connection, socket, caller),
    message(data) {
      if (typeof data === "string") mqtt?.refuse("MQTT comes in binary frames");
      else mqtt?.receive(data);
    },
    close: () => mqtt?.closedByClient(),
  };
}

/** Listens on a port and hands every connection to a session. */
export class MqttListener implements AsyncDisposable {
  readonly port: number;
  readonly #context: MqttContext;
  readonly #listener: Deno.Listener;
  readonly #connections = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;

  constructor(context: MqttContext, listener: Deno.Listener) {
    this.#context = context;
    this.#listener = listener;
    this.port = (listener.addr as Deno.NetAddr).port;
    this.#accepting = this.#accept();
  }

  /** Stops listening and waits for the connections, which have been ended before. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    await Promise.all(this.#connections);
  }

  async #accept(): Promise<void> {
    while (true) {
      let conn;
      try {
        conn = await this.#listener.accept();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) return;
        // A client may be gone before it is accepted.
        this.#context.logger.write("warn", "accepting an MQTT connection failed", {
          reason: describeReason(error),
        });
        await new Promise((resolve) => setTimeout(resolve, 10));
        continue;
      }
      const serving = this.#serve(conn).finally(() => this.#connections.delete(serving));
      this.#connections.add(serving);
    }
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    const { limits, hub } = this.#context;
    const address = (conn.remoteAddr as Deno.NetAddr).hostname;
    let connection;
    try {
      connection = limits.connect(address);
    } catch (error) {
      const { code, message } = toMessagingError(error);
      hub.metrics.refused(code, { what: "mqtt", message, address });
      return conn.close();
    }
    const socket = new TcpSocket(conn);
    const caller = this.#context.gate.describeCaller({ headers: new Headers() }, "mqtt");
    const mqtt = new MqttConnection(this.#context, connection, socket, caller);
    try {
      const buffer = new Uint8Array(READ_BYTES);
      while (true) {
        const count = await conn.read(buffer);
        if (count === null) break;
        await mqtt.receive(buffer.slice(0, count));
      }
    } catch {
      // The connection broke, or was ended by us.
    } finally {
      mqtt.closed();
      connection.release();
      socket.terminate();
      await mqtt.finished;
    }
  }
}

/** Opens the port. @throws {SyntaxError} saying why it cannot be listened on */
export async function listenMqtt(context: MqttContext, port: number): Promise<MqttListener> {
  const { host: hostname = "127.0.0.1", cert, key, reusePort = false } = context.settings;
  const tls = cert === undefined || key === undefined
    ? undefined
    : { cert: await readPem("--cert", cert), key: await readPem("--key", key) };
  try {
    const options = { hostname, port, reusePort };
    const listener = tls === undefined ? Deno.listen(options) : Deno.listenTls({ ...options, ...tls });
    return new MqttListener(context, listener);
  } catch (cause) {
    const target = { flag: "--mqtt-port", host: hostname, port, execPath: Deno.execPath() } as const;
    throw new SyntaxError(describeListenError(cause, target), { cause });
  }
}

async function readPem(flag: "--cert" | "--key", path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotCapable
      ? formatPermissionCure(`--allow-read=${path}`, Deno.execPath())
      : cause instanceof Error
      ? cause.message
      : cause;
    throw new SyntaxError(`Cannot read ${path} of ${flag}: ${reason}`, { cause });
  }
}

/** A Socket over a TCP or TLS connection. */
class TcpSocket implements Socket {
  readonly id = crypto.randomUUID();
  readonly #conn: Deno.Conn;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #writing = false;
  #closing = false;
  #closed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wake: (() => void)[] = [];

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
    // What is sent in one turn leaves in one write already: holding small packets back would only delay them.
    if ("setNoDelay" in conn) (conn as Deno.TcpConn).setNoDelay(true);
  }

  send(frames: readonly Frame[]): void {
    if (this.#closing || this.#closed) return;
    for (const { data } of frames) {
      if (typeof data === "string") throw new TypeError("MQTT packets are bytes");
      this.#queue.push(data);
      this.#queuedBytes += data.byteLength;
    }
    if (!this.#writing) void this.#write();
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  drained(): Promise<void> {
    if (this.#queuedBytes === 0 || this.#closed) return Promise.resolve();
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  /** TCP carries no code and no reason: DISCONNECT has told both. */
  close(): void {
    if (this.#closed) return;
    this.#closing = true;
    if (!this.#writing) return this.terminate();
    this.#timer = setTimeout(() => this.terminate(), LAST_BYTES_MILLISECONDS);
  }

  terminate(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#queue = [];
    this.#queuedBytes = 0;
    try {
      this.#conn.close();
    } catch {
      // The other end was faster.
    }
    this.#notify();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      // What is sent during one task goes out in one write.
      await Promise.resolve();
      while (this.#queue.length > 0 && !this.#closed) {
        const bytes = joinBytes(this.#queue);
        this.#queue = [];
        for (let at = 0; at < bytes.byteLength;) {
          const count = await this.#conn.write(bytes.subarray(at));
          at += count;
          this.#queuedBytes = Math.max(0, this.#queuedBytes - count);
        }
      }
    } catch {
      this.terminate();
    }
    this.#writing = false;
    if (this.#closing) this.terminate();
    this.#notify();
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const resolve of waiting) resolve();
  }
}

function joinBytes(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces;
  if (only !== undefined && pieces.length === 1) return only;
  const joined = new Uint8Array(pieces.reduce((size, piece) => size + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.byteLength;
  }
  return joined;
}
