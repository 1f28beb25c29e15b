/** The server under test: the real `server.ts` as a child process on a core of its own. Scenarios start it. */
import { pause } from "./measure.ts";

/** Where the server keeps its log: nowhere, in a file, or in a file with every commit forced to the disk. */
export type LogKind = "memory" | "sqlite normal" | "sqlite full";

export interface ServerOptions {
  readonly log: LogKind;
  /** Directory of the log and the rules; removed by its owner. */
  readonly directory: string;
  /** Keep all messages; otherwise the rules are the server's own. */
  readonly keepAll?: boolean;
}

const PROJECT = new URL("../../", import.meta.url);
const DATABASE = "raindrops.db";
const KEEP_ALL = [{ channels: "**", history: { messages: 1_000_000, seconds: 86_400 } }];
const START_DEADLINE = 10_000;
const STOP_DEADLINE = 3_000;

/** Cores of the load generator and of the server; undefined where there are no two, or no taskset. */
let cores: { readonly generator: string; readonly server: string } | undefined;
const running = new Set<ServerProcess>();

/** A temporary directory on the disk that the server would use. Disposing it removes it. */
export class DataDirectory implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<DataDirectory> {
    const data = new URL("data/", PROJECT).pathname;
    await Deno.mkdir(data, { recursive: true });
    return new DataDirectory(await Deno.makeTempDir({ dir: data, prefix: "bench-" }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** A server that accepts connections. Disposing it stops it. */
export class ServerProcess implements AsyncDisposable {
  readonly port: number;
  readonly #child: Deno.ChildProcess;
  readonly #errors: Promise<string>;
  #ended = false;

  private constructor(port: number, child: Deno.ChildProcess) {
    this.port = port;
    this.#child = child;
    this.#errors = new Response(child.stderr).text();
    void child.status.then(() => this.#ended = true);
    running.add(this);
  }

  /** @throws {Error} with what the server said, when it does not start */
  static async start(options: ServerOptions): Promise<ServerProcess> {
    // The server tells the port it picked in a line of level info, and at that level it logs every message.
    const port = findFreePort();
    const { log, directory } = options;
    const args = ["--host", "127.0.0.1", "--port", String(port), "--log-level", "error"];
    // A reader that never sends anything must not be taken for dead.
    args.push("--idle-timeout", "3600", "--log", logUrl(log, directory));
    if (options.keepAll) {
      const rules = `${directory}/rules.json`;
      await Deno.writeTextFile(rules, JSON.stringify(KEEP_ALL));
      args.push("--rules", rules);
    }
    const command = [Deno.execPath(), "run", "--allow-all", new URL("server.ts", PROJECT).pathname, ...args];
    if (cores !== undefined) command.unshift("taskset", "--cpu-list", cores.server);
    const [program = "", ...rest] = command;
    const child = new Deno.Command(program, {
      args: rest,
      cwd: PROJECT,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const server = new ServerProcess(port, child);
    try {
      await server.#waitUntilListening();
      if (log !== "memory") await server.#checkDatabase(directory);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  get pid(): number {
    return this.#child.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    running.delete(this);
    if (!this.#ended) this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.kill(), STOP_DEADLINE);
    await this.#child.status;
    clearTimeout(timer);
    await this.#errors;
  }

  kill(): void {
    if (!this.#ended) this.#child.kill("SIGKILL");
  }

  async #waitUntilListening(): Promise<void> {
    const deadline = performance.now() + START_DEADLINE;
    while (!this.#ended && performance.now() < deadline) {
      try {
        (await Deno.connect({ hostname: "127.0.0.1", port: this.port })).close();
        return;
      } catch (error) {
        if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
        await pause(10);
      }
    }
    this.kill();
    throw new Error(`The server did not start: ${(await this.#errors).trim() || "it said nothing"}`);
  }

  /** Guards against measuring another engine than the one that was asked for. */
  async #checkDatabase(directory: string): Promise<void> {
    try {
      await Deno.stat(`${directory}/${DATABASE}`);
    } catch (cause) {
      throw new Error("The server runs without the SQLite file it was started with", { cause });
    }
  }
}

/** Kills the servers that are running, when time is up or the user interrupts. */
export function killServers(): void {
  for (const server of running) server.kill();
}

/**
 * Moves this process, the load generator, to a core of its own and remembers another one for the servers.
 *
 * @returns what was done, for the head of the report
 */
export async function pinCores(): Promise<string> {
  const allowed = await listAllowedCores();
  const [generator, server] = allowed;
  if (generator === undefined || server === undefined) {
    return "not pinned: there are no two cores; rates are too low, CPU times hold";
  }
  const args = ["--all-tasks", "--pid", "--cpu-list", generator, String(Deno.pid)];
  try {
    const { success } = await new Deno.Command("taskset", { args, stdout: "null", stderr: "null" }).output();
    if (!success) return "not pinned: taskset failed";
  } catch {
    return "not pinned: there is no taskset";
  }
  cores = { generator, server };
  return `load generator on core ${generator}, server on core ${server}`;
}

async function listAllowedCores(): Promise<readonly string[]> {
  const status = await Deno.readTextFile("/proc/self/status").catch(() => "");
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "";
  return list.split(",").flatMap((range) => {
    const [first = NaN, last = first] = range.split("-").map(Number);
    return Number.isNaN(first) ? [] : Array.from({ length: last - first + 1 }, (_, i) => String(first + i));
  });
}

function logUrl(log: LogKind, directory: string): string {
  switch (log) {
    case "memory":
      return "memory:";
    case "sqlite normal":
      return `sqlite:${directory}/${DATABASE}?synchronous=normal`;
    case "sqlite full":
      return `sqlite:${directory}/${DATABASE}?synchronous=full`;
  }
}

function findFreePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
