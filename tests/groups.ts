/**
 * Which test files run together, and which groups run side by side. `run.ts` runs them.
 *
 * A new test file belongs to the units unless its folder is listed here.
 */
import { readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const TESTS = dirname(fileURLToPath(import.meta.url));

/** Folders and files, below `tests/`, of the groups that need more than the test's own process. */
const FOLDERS = {
  /** Pages in Chromium. */
  browser: ["e2e"],
  /** NATS servers and nodes that are killed: they wait for elections most of the time. */
  cluster: ["cluster", "engines/jetstream"],
  /** Whole servers and proxies as processes of their own, and listeners with a thousand sockets. */
  servers: ["crash", "listeners", "listening_test.ts", "proxies", "server_test.ts", "workers"],
  /** Schedules in virtual time, which keep a core busy. */
  simulation: ["simulation"],
  /** What measures the memory and the descriptors of a server under load. */
  load: ["attacks", "soak"],
} as const;

/**
 * Units that run once more over the other listener: those about what a listener does itself. It makes a request of bytes
 * (targets, headers, a body as it comes or does not), writes an answer at once or as a stream, carries the frames and
 * the close codes of WebSockets, and refuses what is too much, slow or of a foreign origin. What the server makes of a
 * message once it has it is the same over each, and not tested twice: of every protocol only the tests of its transports
 * and its real clients are here. `listeners` and `attacks` try the listeners themselves.
 */
const OVER_NODE: readonly string[] = [
  // A server that drains.
  "observe/health_test.ts",
  // Requests and answers of every form, pages with their caching among them.
  "auth/origins_test.ts",
  "fuzz/requests_test.ts",
  "http/limits_test.ts",
  "http/line_feeds_test.ts",
  "pages/pages_test.ts",
  "protocols/byte_for_byte_test.ts",
  "protocols/channel_names_test.ts",
  "protocols/largest_message_test.ts",
  "protocols/url/publish_test.ts",
  // Streams: how they begin, end and are cut.
  "protocols/url/event_source_clients_test.ts",
  "protocols/url/event_stream_test.ts",
  "protocols/url/ndjson_test.ts",
  // WebSockets: handshakes, frames of either kind, pings, and closing from either side.
  "protocols/centrifuge/client_test.ts",
  "protocols/centrifuge/session_test.ts",
  "protocols/centrifuge/transports_test.ts",
  "protocols/mqtt/bytes_test.ts",
  "protocols/mqtt/client_test.ts",
  "protocols/pusher/client_test.ts",
  "protocols/pusher/refusals_test.ts",
  "protocols/url/plain_test.ts",
  "protocols/well_formed_test.ts",
];

/** Units that run once more on a server of three workers: those that look at it from outside alone. */
const OVER_WORKERS: readonly string[] = [
  "http/limits_test.ts",
  "protocols/centrifuge/session_test.ts",
  "protocols/centrifuge/subscriptions_test.ts",
  "protocols/centrifuge/transports_test.ts",
  "protocols/mqtt/client_test.ts",
  "protocols/pusher/client_test.ts",
  "protocols/pusher/since_test.ts",
  "protocols/url/gap_test.ts",
  "protocols/url/read_test.ts",
  "protocols/url/removal_test.ts",
  "protocols/url/scheduled_test.ts",
];

export type GroupName = "units" | "node" | "workers" | keyof typeof FOLDERS;

export interface Group {
  readonly name: GroupName;
  /** How many files run at a time. */
  readonly jobs: number;
  readonly env: Readonly<Record<string, string>>;
}

/** As many files at a time as keep the cores busy although about a third of them waits for something. */
const SOME_WAITING = navigator.hardwareConcurrency + 1;

const GROUPS: Readonly<Record<GroupName, Group>> = {
  units: { name: "units", jobs: SOME_WAITING, env: {} },
  node: { name: "node", jobs: SOME_WAITING, env: { RAINDROPS_LISTENER: "node" } },
  workers: { name: "workers", jobs: 2, env: { RAINDROPS_WORKERS: "3" } },
  browser: { name: "browser", jobs: 2, env: {} },
  cluster: { name: "cluster", jobs: 2, env: {} },
  servers: { name: "servers", jobs: 1, env: {} },
  simulation: { name: "simulation", jobs: 2, env: {} },
  load: { name: "load", jobs: 2, env: {} },
};

/**
 * Stages run one after the other. The lanes of a stage run side by side, the groups of a lane one after the other: beside
 * what keeps the cores busy goes what waits most of the time, as for elections (`cluster`).
 */
const STAGES: readonly (readonly (readonly GroupName[])[])[] = [
  [["units"], ["cluster"]],
  [["browser", "workers"], ["servers", "node"]],
  [["simulation"]],
  // It measures the time that a server's thread takes, which is longer while all cores are busy.
  [["load"]],
];

/** The stages that are left when only some groups are wanted. */
export function selectStages(wanted: readonly string[] | undefined): Group[][][] {
  const unknown = wanted?.find((name) => !Object.hasOwn(GROUPS, name));
  if (unknown !== undefined) {
    throw new SyntaxError(`Unknown group "${unknown}": --groups takes ${Object.keys(GROUPS).join(", ")}`);
  }
  const isWanted = (name: GroupName) => wanted === undefined || wanted.includes(name);
  return STAGES
    .map((lanes) => lanes.map((names) => names.filter(isWanted).map((name) => GROUPS[name])))
    .map((lanes) => lanes.filter((groups) => groups.length > 0))
    .filter((lanes) => lanes.length > 0);
}

/** The paths of a group's test files. */
export function findTestFiles(name: GroupName): string[] {
  const files = readdirSync(TESTS, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith("_test.ts"))
    .map((path) => join(TESTS, path))
    .sort();
  if (name === "units") return files.filter((file) => !isBelow(file, Object.values(FOLDERS).flat()));
  const paths: readonly string[] = name === "node"
    ? OVER_NODE
    : name === "workers"
    ? OVER_WORKERS
    : FOLDERS[name];
  // A file that was moved must not leave a group in silence.
  const lost = paths.filter((path) => !files.some((file) => isBelow(file, [path])));
  if (lost.length > 0) throw new Error(`The group "${name}" lists what is not there: ${lost.join(", ")}`);
  return files.filter((file) => isBelow(file, paths));
}

function isBelow(file: string, paths: readonly string[]): boolean {
  const path = relative(TESTS, file).replaceAll("\\", "/");
  return paths.some((folder) => path === folder || path.startsWith(`${folder}/`));
}
