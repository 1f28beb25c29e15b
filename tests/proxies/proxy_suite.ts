/** What must work through every proxy that the manual shows the configuration of. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { Centrifuge } from "centrifuge";
import { readLines } from "../read_lines.ts";
import { type ServerProcess, startServer } from "../server_process.ts";
import { TestSocket } from "../test_socket.ts";

/** A proxy that passes on to a port of this machine. Disposing it stops it. */
export interface Proxy extends AsyncDisposable {
  readonly port: number;
}

export interface ProxyCase {
  readonly name: string;
  /** Why it cannot be tested here; undefined where it can. */
  readonly reason: string | undefined;
  start(target: number): Promise<Proxy>;
}

/** How long an answer may take before it counts as held back, in milliseconds. */
const PATIENCE = 20_000;

interface Setting {
  readonly server: ServerProcess;
  /** The proxy's, without a slash at the end. */
  readonly url: string;
  readonly socketUrl: string;
}

export function testProxy({ name, start, ...rest }: ProxyCase): void {
  const reason = Deno.build.os === "linux"
    ? rest.reason
    : "only Linux has all of 127.0.0.0/8 for clients to call from";
  const promise = `Through ${name} as the manual has it`;
  Deno.test({
    name: reason === undefined ? promise : `${promise} (skipped: ${reason})`,
    ignore: reason !== undefined,
    async fn(t) {
      const port = findFreePort();
      await using proxy = await start(port);
      const url = `http://127.0.0.1:${proxy.port}`;
      const flags = ["--trusted-proxy", "127.0.0.1", "--open"];
      await using server = await startServer({ port, flags });
      const setting = { server, url, socketUrl: url.replace("http", "ws") };
      for (const [step, run] of Object.entries(STEPS)) await t.step(step, () => run(setting));
    },
  });
}

const STEPS: Readonly<Record<string, (setting: Setting) => Promise<void>>> = {
  "publishing answers, and names arrive as they were sent": async ({ url }) => {
    const { channel } = await post(`${url}/a%2Cb/c`, "x");
    assert.equal(channel, "a,b/c");
  },
  "an event stream passes each event on at once": async ({ url }) => {
    await using reader = await readLines(`${url}/events`, { accept: "text/event-stream" });
    // The opening block, of whatever lines, ends with an empty one.
    while ((await within(reader.take(1)))[0] !== "");
    for (const text of ["one", "two"]) {
      await post(`${url}/events`, text);
      const lines = await within(reader.take(3));
      assert.equal(lines[1], `data: ${text}`);
    }
  },
  "a line stream passes each line on at once": async ({ url }) => {
    await using reader = await readLines(`${url}/lines?follow`);
    assert.deepEqual(await within(reader.take(1)), [""]);
    for (const text of ["one", "two"]) {
      await post(`${url}/lines`, text);
      const [line = ""] = await within(reader.take(1));
      assert.equal(JSON.parse(line).data, text);
    }
  },
  "a WebSocket carries large messages both ways": async ({ url, socketUrl }) => {
    await using one = await TestSocket.open(`${socketUrl}/sockets`);
    await using other = await TestSocket.open(`${socketUrl}/sockets`);
    // Whoever is answered is subscribed.
    other.send("/who");
    await within(other.next());
    const large = "x".repeat(60_000);
    one.send(large);
    assert.equal(await within(other.next()), large);
    await post(`${url}/sockets`, "posted");
    assert.equal(await within(other.next()), "posted");
  },
  "an official Centrifuge client subscribes and publishes": async ({ socketUrl }) => {
    const client = new Centrifuge(`${socketUrl}/connection/websocket`);
    const subscription = client.newSubscription("centrifuge");
    const published = new Promise((resolve) => subscription.on("publication", ({ data }) => resolve(data)));
    subscription.subscribe();
    client.connect();
    await within(subscription.ready());
    await client.publish("centrifuge", "hello");
    assert.equal(await within(published), "hello");
    client.disconnect();
  },
  "pages of the site itself may use it, pages of others may not": async ({ url }) => {
    const ask = async (origin: string) => {
      const response = await fetch(`${url}/news?since=earliest`, {
        headers: { origin, accept: "application/json" },
      });
      await response.body?.cancel();
      return response.status;
    };
    assert.equal(await ask(url), 200);
    assert.equal(await ask("https://elsewhere.example"), 403);
  },
  "the server knows whom the proxy serves, and takes nobody's word for it": async ({ url }) => {
    const here = "127.0.0.1";
    // An id is its holder's as long as it is connected: nobody at another address may use it.
    const holder = {
      accept: "text/event-stream",
      "x-forwarded-for": "198.51.100.1",
      forwarded: "for=198.51.100.1",
    };
    await using reader = await readLines(`${url}/ids?id=ann`, holder);
    await within(reader.take(3));
    assert.equal(await postFrom(here, `${url}/ids?id=ann`, { "x-forwarded-for": "198.51.100.2" }), 200);
    assert.notEqual(
      await postFrom("127.0.0.2", `${url}/ids?id=ann`, { "x-forwarded-for": "198.51.100.1" }),
      200,
    );
    assert.notEqual(await postFrom("127.0.0.2", `${url}/ids?id=ann`, { "x-forwarded-for": here }), 200);
  },
  "a body that is too large gets the server's own answer": async ({ url }) => {
    const response = await fetch(`${url}/news`, { method: "POST", body: "x".repeat(2 * 1024 * 1024) });
    assert.equal(response.status, 413);
    assert.match((await response.json()).detail, /--max-body-bytes/);
  },
  "a restart reaches clients as 1012": async ({ server, socketUrl }) => {
    const socket = await TestSocket.open(`${socketUrl}/restart`);
    socket.send("/who");
    await within(socket.next());
    await server.stop();
    assert.equal((await within(socket.closed)).code, 1012);
  },
};

async function post(url: string, body: string): Promise<{ channel: string }> {
  const response = await fetch(url, { method: "POST", body });
  assert.equal(response.status, 200);
  return await response.json();
}

/** Publishes from an address of this machine; resolves to the status. */
function postFrom(localAddress: string, url: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { method: "POST", localAddress, headers: { ...headers, connection: "close" } };
    const outgoing = request(url, options, (incoming) => {
      incoming.resume();
      incoming.on("end", () => resolve(incoming.statusCode ?? 0));
    });
    outgoing.on("error", reject);
    outgoing.end("x");
  });
}

/** Fails instead of waiting for ever for what a proxy holds back. */
async function within<T>(waiting: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("The proxy held it back")), PATIENCE);
  try {
    return await Promise.race([waiting, promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** A port that nobody listens on. */
export function findFreePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Where a program is, among the folders of the PATH and those that only root has there. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  for (const folder of folders.filter((folder) => folder !== "")) {
    const path = `${folder}/${name}`;
    const found = await Deno.stat(path).then(({ isFile }) => isFile, () => false);
    if (found) return path;
  }
  return undefined;
}

/** Starts a proxy's process, and resolves once it accepts connections. */
export async function startProxy(program: string, args: readonly string[], port: number): Promise<Proxy> {
  const child = new Deno.Command(program, { args: [...args], stdin: "null", stdout: "null", stderr: "piped" })
    .spawn();
  const errors = new Response(child.stderr).text();
  let ended = false;
  const status = child.status.then(() => ended = true);
  for (;;) {
    if (ended) throw new Error(`${program} did not start: ${await errors}`);
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      break;
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  return {
    port,
    async [Symbol.asyncDispose]() {
      if (!ended) child.kill("SIGTERM");
      await status;
      await errors;
    },
  };
}
