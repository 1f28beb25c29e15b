/** What the tests of the Pusher protocol share: an app, its signatures, the official clients, and a raw one. */
import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
// @ts-types="./pusher_server.d.ts"
import PusherServer from "pusher";
// @ts-types="./pusher_client.d.ts"
import PusherClient, { type Channel } from "pusher-js";
import { startApp, type TestApp } from "../../test_app.ts";
import { TestSocket } from "../../test_socket.ts";

export const APP = { id: "app1", key: "key1", secret: "secret-of-app-1" };

/** Starts a server with the app. */
export async function startPusherApp(...settings: readonly string[]): Promise<TestApp> {
  return await startApp(`RAINDROPS_PUSHER_APP=${APP.id}:${APP.key}:${APP.secret}`, ...settings);
}

/** Starts a server with apps of a file. */
export async function startPusherApps(
  apps: readonly unknown[],
  ...settings: readonly string[]
): Promise<TestApp> {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, JSON.stringify(apps));
    return await startApp("--pusher-apps", file, ...settings);
  } finally {
    await Deno.remove(file);
  }
}

/** Signs a text as an application's server does. */
export function sign(text: string, app = APP): string {
  return `${app.key}:${createHmac("sha256", app.secret).update(text).digest("hex")}`;
}

/** The official library of applications' servers. */
export function openServerLibrary({ port }: Pick<TestApp, "port">, app = APP): PusherServer {
  return new PusherServer({
    appId: app.id,
    key: app.key,
    secret: app.secret,
    host: "127.0.0.1",
    port: String(port),
  });
}

/** An official client, signed in to channels by the app's secret. Disposing it ends its connection. */
export class OfficialClient implements AsyncDisposable {
  readonly pusher: PusherClient;
  readonly states: string[] = [];

  constructor(
    { port }: Pick<TestApp, "port">,
    options: { readonly user?: unknown; readonly key?: string } = {},
  ) {
    const { user, key = APP.key } = options;
    this.pusher = new PusherClient(key, {
      cluster: "",
      wsHost: "127.0.0.1",
      wsPort: port,
      forceTLS: false,
      enabledTransports: ["ws"],
      disableStats: true,
      channelAuthorization: {
        endpoint: "",
        transport: "ajax",
        customHandler: ({ socketId, channelName }, callback) => {
          const data = user === undefined ? undefined : JSON.stringify(user);
          const text = data === undefined
            ? `${socketId}:${channelName}`
            : `${socketId}:${channelName}:${data}`;
          const shared = channelName.startsWith("private-encrypted-")
            ? { shared_secret: createHash("sha256").update(channelName).digest("base64") }
            : {};
          callback(null, {
            auth: sign(text),
            ...(data === undefined ? {} : { channel_data: data }),
            ...shared,
          });
        },
      },
      userAuthentication: {
        endpoint: "",
        transport: "ajax",
        customHandler: ({ socketId }, callback) => {
          const data = JSON.stringify({ id: "ann", user_info: { name: "Ann" } });
          callback(null, { auth: sign(`${socketId}::user::${data}`), user_data: data });
        },
      },
    });
    this.pusher.connection.bind(
      "state_change",
      ({ current }: { current: string }) => this.states.push(current),
    );
  }

  /** Resolves with the data of the next event of a channel or of the connection. */
  next(
    target: { bind(event: string, callback: (data: unknown, extra?: unknown) => void): unknown },
    event: string,
  ) {
    // deno-lint-ignore no-explicit-any -- tests know what they asked for
    return new Promise<any>((resolve) => target.bind(event, (data) => resolve(data)));
  }

  async connected(): Promise<string> {
    if (this.pusher.connection.state !== "connected") await this.next(this.pusher.connection, "connected");
    return this.pusher.connection.socket_id;
  }

  /** Subscribes, and resolves when that has succeeded. */
  async subscribe(channel: string): Promise<Channel> {
    const subscribed = this.pusher.subscribe(channel);
    const success = this.next(subscribed, "pusher:subscription_succeeded");
    const failure = this.next(subscribed, "pusher:subscription_error").then((error) => {
      throw new Error(JSON.stringify(error));
    });
    await Promise.race([success, failure]);
    return subscribed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { connection } = this.pusher;
    const gone = ["disconnected", "failed", "initialized"].includes(connection.state)
      ? undefined
      : this.next(connection, "disconnected");
    this.pusher.disconnect();
    await gone;
  }
}

/** A client that speaks the protocol frame by frame. */
export class RawPusher implements AsyncDisposable {
  readonly socket: TestSocket;
  socketId = "";

  private constructor(socket: TestSocket) {
    this.socket = socket;
  }

  /** Opens a socket at a path, and reads nothing yet. */
  static async open(
    { socketUrl }: Pick<TestApp, "socketUrl">,
    path = `/app/${APP.key}?protocol=7`,
  ): Promise<RawPusher> {
    return new RawPusher(await TestSocket.open(socketUrl + path));
  }

  static async connect(server: Pick<TestApp, "socketUrl">): Promise<RawPusher> {
    const client = await RawPusher.open(server);
    const { event, data } = JSON.parse(await client.read());
    assert.equal(event, "pusher:connection_established");
    client.socketId = JSON.parse(data).socket_id;
    return client;
  }

  /** The next frame as it came. */
  async read(): Promise<string> {
    return String(await this.socket.next());
  }

  send(event: string, data: unknown, channel?: string): void {
    this.socket.send(JSON.stringify({ event, data, ...(channel === undefined ? {} : { channel }) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.socket[Symbol.asyncDispose]();
  }
}
