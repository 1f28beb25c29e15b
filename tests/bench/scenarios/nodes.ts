/**
 * Several nodes on one NATS JetStream server: fan-out with one node and with two, and publishing against SQLite. Two
 * load generators with a channel of 500 readers each: both on one node, then each on a node of its own. With two cores
 * these are shared by all: nodes, NATS and generators; only what two nodes do together says more than one.
 */
import { Server } from "../child.ts";
import { DENO_LISTENER } from "../contenders.ts";
import { generate } from "../generate.ts";
import type { Endpoint } from "../generator/endpoint.ts";
import type { Load } from "../generator/job.ts";
import { type Figure, pause } from "../measure.ts";
import { DataDirectory, startRaindrops } from "../raindrops.ts";
import type { RunContext, Scenario } from "../scenario.ts";

const READERS = 500;
const FAN_OUT_LOADS: readonly Load[] = [1, 16, 128].map((inFlight) => ({ inFlight, size: 64 }));
const PUBLISH_LOADS: readonly Load[] = [1, 32, 256].map((inFlight) => ({ inFlight, size: 64 }));
const PROGRAM = new URL("../../../server.ts", import.meta.url).pathname;
const NATS_PATHS = ["nats-server", "/usr/sbin/nats-server"];

export const NODES: Scenario = {
  name: "nodes",
  summary:
    "deliveries a second with one and two nodes on JetStream, and POSTs a second on JetStream and SQLite",
  deadline: 120,
  run,
  check: () => [],
};

async function run(context: RunContext): Promise<readonly Figure[]> {
  const program = await findNats();
  if (program === undefined) {
    context.skip("JetStream", "there is no nats-server");
    return [];
  }
  await using directory = await DataDirectory.create();
  await using nats = await startOnAllCores((port) => [
    program,
    ...[
      "--addr",
      "127.0.0.1",
      "--port",
      String(port),
      "--jetstream",
      "--store_dir",
      `${directory.path}/nats`,
    ],
  ]);
  const figures: Figure[] = [];
  {
    await using one = await startNode(nats.port);
    figures.push(...await fanOut(context, "one node", [one, one]));
    figures.push(...await publish(context, "JetStream, one server", one));
    await using two = await startNode(nats.port);
    // Until they know each other.
    await pause(1_500);
    figures.push(...await fanOut(context, "two nodes", [one, two]));
  }
  for (const synchronous of ["normal", "full"] as const) {
    await using data = await DataDirectory.create();
    await using server = await startRaindrops({ log: `sqlite ${synchronous}`, directory: data.path });
    figures.push(...await publish(context, `sqlite ${synchronous}`, server));
  }
  return figures;
}

/** Two load generators at once, each with a channel of its own on its server: what both get done. */
async function fanOut(
  { quick }: RunContext,
  name: string,
  servers: readonly Server[],
): Promise<readonly Figure[]> {
  const [warmUpMilliseconds, milliseconds] = quick ? [100, 300] : [500, 1_500];
  const results = await Promise.all(servers.map((server, i) => {
    const endpoint: Endpoint = { path: `/channel${i}-{channel}`, kind: "WebSocket" };
    return generate(server, {
      kind: "fan-out",
      reader: endpoint,
      publisher: { ...endpoint, path: `${endpoint.path}?id=p${i}` },
      readers: READERS,
      loads: FAN_OUT_LOADS,
      warmUpMilliseconds,
      milliseconds,
    });
  }));
  return FAN_OUT_LOADS.map(({ inFlight }, i) => ({
    label: `${name}: 2 x ${READERS} readers, 2 x ${inFlight} in flight`,
    value: results.reduce((sum, result) => sum + result[i]!.rate, 0),
    unit: "/s",
    ratios: name === "one node"
      ? []
      : [{ label: `one node: 2 x ${READERS} readers, 2 x ${inFlight} in flight`, name: "one node" }],
  }));
}

async function publish({ quick }: RunContext, name: string, server: Server): Promise<readonly Figure[]> {
  const { reader, poster: publisher } = DENO_LISTENER.plain;
  if (publisher === undefined) throw new TypeError("Raindrops takes POSTs");
  const [warmUpMilliseconds, milliseconds] = quick ? [300, 300] : [700, 1_500];
  const job = {
    kind: "post",
    reader,
    publisher,
    loads: PUBLISH_LOADS,
    warmUpMilliseconds,
    milliseconds,
  } as const;
  const results = await generate(server, job);
  return results.map(({ rate, cost }, i) => ({
    label: `${name}: POST, ${PUBLISH_LOADS[i]!.inFlight} in flight`,
    value: rate,
    unit: "/s",
    cost,
  }));
}

function startNode(nats: number): Promise<Server> {
  return startOnAllCores((port) => [
    ...[Deno.execPath(), "run", "--allow-all", PROGRAM, "--port", String(port), "--log-level", "error"],
    ...["--engine", `nats://127.0.0.1:${nats}?stream=bench`, "--idle-timeout", "3600"],
  ]);
}

/** A server that is not bound to the servers' core, where there is `taskset` to say so. */
async function startOnAllCores(words: (port: number) => readonly string[]): Promise<Server> {
  const cores = await new Deno.Command("taskset", { args: ["--version"] }).output().then(
    () => true,
    () => false,
  );
  return await Server.start((port) => {
    const all = [
      ...cores ? ["taskset", "--cpu-list", "0-255"] : [],
      ...words(port),
    ];
    return { program: all[0]!, args: all.slice(1) };
  });
}

async function findNats(): Promise<string | undefined> {
  for (const path of NATS_PATHS) {
    const found = await new Deno.Command(path, { args: ["--version"] }).output().then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}
