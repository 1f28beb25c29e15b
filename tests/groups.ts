/**
 * Which test files run together, and which groups run side by side. `run.ts` runs them.
 *
 * A new test file belongs to the units unless its folder is listed here.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const TESTS = dirname(fileURLToPath(import.meta.url));

/** The module that starts an app over the listener that `RAINDROPS_LISTENER` names. */
const TEST_APP = join(TESTS, "test_app.ts");

/** Folders and files, below `tests/`, of the groups that need more than the test's own process. */
const FOLDERS = {
  /** Pages in Chromium. */
  browser: ["e2e"],
  /** NATS servers and nodes that are killed: they wait for elections most of the time. */
  cluster: ["cluster", "engines/jetstream"],
  /** Whole servers and proxies as processes of their own, and listeners with a thousand sockets. */
  servers: ["listeners", "proxies", "server_test.ts"],
  /** What measures the memory and the descriptors of a server under load. */
  load: ["attacks", "soak"],
} as const;

export type GroupName = "units" | "node" | keyof typeof FOLDERS;

export interface Group {
  readonly name: GroupName;
  /** How many files run at a time; undefined for as many as there are cores. */
  readonly jobs: number | undefined;
  readonly env: Readonly<Record<string, string>>;
}

const GROUPS: Readonly<Record<GroupName, Group>> = {
  units: { name: "units", jobs: undefined, env: {} },
  /** The units that start an app, once more, over the other listener. */
  node: { name: "node", jobs: 2, env: { RAINDROPS_LISTENER: "node" } },
  browser: { name: "browser", jobs: 1, env: {} },
  cluster: { name: "cluster", jobs: 1, env: {} },
  servers: { name: "servers", jobs: 1, env: {} },
  load: { name: "load", jobs: 2, env: {} },
};

/**
 * Stages run one after the other. The lanes of a stage run side by side, the groups of a lane one after the other.
 * Groups that may install Debian packages (`cluster`, `servers`) share a lane, as dpkg allows one at a time.
 */
const STAGES: readonly (readonly (readonly GroupName[])[])[] = [
  [["units"]],
  [["browser"], ["cluster", "servers", "node"]],
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
  if (name !== "units" && name !== "node") return files.filter((file) => isBelow(file, FOLDERS[name]));
  const listed = Object.values(FOLDERS).flat();
  const units = files.filter((file) => !isBelow(file, listed));
  return name === "units" ? units : units.filter((file) => isImported(TEST_APP, file));
}

function isBelow(file: string, paths: readonly string[]): boolean {
  const path = relative(TESTS, file).replaceAll("\\", "/");
  return paths.some((folder) => path === folder || path.startsWith(`${folder}/`));
}

/** Whether a module imports another one, directly or through others below `tests/`. */
function isImported(module: string, by: string, seen = new Set<string>()): boolean {
  if (by === module) return true;
  if (seen.has(by) || !by.startsWith(TESTS) || !existsSync(by)) return false;
  seen.add(by);
  const specifiers = readFileSync(by, "utf8").matchAll(/^(?:import|export|\}) ?[^"]*"(\.[^"]+\.ts)"/gm);
  return specifiers.some(([, specifier]) => isImported(module, join(dirname(by), specifier!), seen));
}
