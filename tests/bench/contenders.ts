/** Who is measured: Raindrops in its forms, and its peers. Each says how it is started and talked to. */
import { Server } from "./child.ts";
import type { Endpoint } from "./generator/endpoint.ts";
import { findMosquitto, findNginx, findPrograms } from "./peers/packages.ts";
import { type ListenerKind, PUSHER_APP, startRaindrops } from "./raindrops.ts";

export interface Contender {
  readonly name: string;
  /** What a reader opens, and how one publishes over a WebSocket. */
  readonly reader: Endpoint;
  readonly publisher: Endpoint;
  /** How one publishes by POST, where that is measured. */
  readonly poster?: Endpoint;
  /** @throws {Error} saying why it cannot be started here */
  start(): Promise<Server>;
}

const PATH: Endpoint = { path: "/{channel}", kind: "WebSocket" };
const POST: Endpoint = { path: "/{channel}", kind: "request" };
const PEERS = new URL("peers/", import.meta.url).pathname;

export const BUN: Contender = {
  name: "Bun, publish",
  reader: PATH,
  publisher: PATH,
  poster: POST,
  start: () => startNpm(({ bun }) => bun, "bun.mjs"),
};

export const WS: Contender = {
  name: "ws on Node, a send each",
  reader: PATH,
  publisher: PATH,
  start: () => startNpm(({ node }) => node, "ws.mjs", "loop"),
};

/** How `ws` uses several cores. */
export function createWsCluster(processes: number): Contender {
  return {
    name: `ws on Node, cluster of ${processes}`,
    reader: PATH,
    publisher: PATH,
    start: () => startNpm(({ node }) => node, "ws_cluster.mjs", String(processes)),
  };
}

/** The runtime without a server on it. */
export const BARE: Contender = {
  name: "Deno.serve, bare",
  reader: PATH,
  publisher: PATH,
  start: () =>
    Server.start((port) => ({
      program: Deno.execPath(),
      args: ["run", "--allow-all", `${PEERS}deno.mjs`, String(port)],
    })),
};

export const WS_FRAMED: Contender = {
  name: "ws on Node, framed once",
  reader: PATH,
  publisher: PATH,
  start: () => startNpm(({ node }) => node, "ws.mjs", "frame"),
};

const SOCKET_IO_ENDPOINT: Endpoint = {
  path: "/socket.io/?EIO=4&transport=websocket&room={channel}",
  kind: "WebSocket",
  opening: [{ send: "40", answer: "40{" }],
  before: '42["message","',
  after: '"]',
};

export const SOCKET_IO: Contender = {
  name: "socket.io on Node",
  reader: SOCKET_IO_ENDPOINT,
  publisher: SOCKET_IO_ENDPOINT,
  start: () => startNpm(({ node }) => node, "socket_io.mjs"),
};

export const NCHAN: Contender = {
  name: "nchan in nginx",
  reader: { path: "/sub/{channel}", kind: "WebSocket" },
  publisher: { path: "/pub/{channel}", kind: "WebSocket" },
  poster: { path: "/pub/{channel}", kind: "request" },
  start: startNchan,
};

export const NCHAN_EVENTS: Contender = {
  ...NCHAN,
  name: "nchan in nginx, SSE",
  reader: { path: "/sub/{channel}", kind: "stream", headers: { accept: "text/event-stream" } },
};

/** What cannot be had from npm or Debian, and is named so that nobody misses it. */
export const NOT_RUN = ["Centrifugo: neither in npm nor in Debian, so that it was not run"];

/** The protocols of Raindrops, over either listener, with so many workers. An id of its own keeps what JSON readers get short and alike. */
export function createRaindrops(listener: ListenerKind, workers = 1) {
  const threads = workers === 1 ? "" : `, ${workers} workers`;
  const create = (protocol: string, reader: Endpoint): Contender => ({
    name: `Raindrops, ${listener} listener${threads}${protocol}`,
    reader,
    publisher: { path: "/{channel}?id=p", kind: "WebSocket" },
    poster: POST,
    start: () => startRaindrops({ listener, workers }),
  });
  return {
    plain: create("", PATH),
    events: create(", SSE", { path: "/{channel}", kind: "stream", headers: { accept: "text/event-stream" } }),
    lines: create(", NDJSON", { path: "/{channel}?follow", kind: "stream" }),
    centrifuge: create(", Centrifuge JSON", {
      path: "/connection/websocket",
      kind: "WebSocket",
      opening: [
        { send: '{"id":1,"connect":{}}', answer: '"id":1' },
        { send: '{"id":2,"subscribe":{"channel":"{channel}"}}', answer: '"id":2' },
      ],
    }),
    pusher: create(", Pusher", {
      path: `/app/${PUSHER_APP.key}?protocol=7`,
      kind: "WebSocket",
      opening: [{
        send: '{"event":"pusher:subscribe","data":{"channel":"{channel}"}}',
        answer: "subscription_succeeded",
      }],
    }),
  };
}

export const DENO_LISTENER = createRaindrops("deno");
export const NODE_LISTENER = createRaindrops("node");

const MQTT: Pick<Contender, "reader" | "publisher"> = {
  reader: { path: "{channel}", kind: "MQTT", subscribes: true },
  publisher: { path: "{channel}", kind: "MQTT" },
};

export const RAINDROPS_MQTT: Contender = {
  name: "Raindrops, MQTT QoS 0",
  ...MQTT,
  start: () => startRaindrops({ mqtt: true }),
};

export const MOSQUITTO: Contender = { name: "Mosquitto, QoS 0", ...MQTT, start: startMosquitto };

async function startMosquitto(): Promise<Server> {
  const { program, libraries } = await findMosquitto();
  const directory = await Deno.makeTempDir({ prefix: "raindrops-bench-" });
  const path = `${directory}/mosquitto.conf`;
  return await Server.start((port) => {
    Deno.writeTextFileSync(
      path,
      `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nlog_type none\npersistence false\n` +
        (Deno.uid() === 0 ? "user root\n" : ""),
    );
    return { program, args: ["-c", path], env: { LD_LIBRARY_PATH: libraries } };
  }, () => Deno.remove(directory, { recursive: true }));
}

async function startNpm(
  choose: (programs: Awaited<ReturnType<typeof findPrograms>>) => string,
  script: string,
  ...args: string[]
): Promise<Server> {
  const programs = await findPrograms();
  return await Server.start((port) => ({
    program: choose(programs),
    args: [`${PEERS}${script}`, String(port), ...args],
    env: { PEERS: programs.modules },
  }));
}

async function startNchan(): Promise<Server> {
  const { program, module } = await findNginx();
  const directory = await Deno.makeTempDir({ prefix: "raindrops-bench-" });
  const template = await Deno.readTextFile(`${PEERS}nchan.conf`);
  const path = `${directory}/nginx.conf`;
  const server = await Server.start((port) => {
    const values: Record<string, string> = { module, directory, port: String(port) };
    Deno.writeTextFileSync(path, template.replaceAll(/\{(\w+)\}/g, (text, name) => values[name] ?? text));
    return { program, args: ["-e", "stderr", "-p", directory, "-c", path] };
  }, () => Deno.remove(directory, { recursive: true }));
  // Its port accepts connections before there is a worker, whose CPU time is to be measured.
  await (await fetch(`http://127.0.0.1:${server.port}/`)).body?.cancel();
  return server;
}
