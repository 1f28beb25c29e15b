/** Child processes of the benchmark: servers on a core of their own, the load generator on another. */
import { pause } from "./measure.ts";

const START_DEADLINE = 10_000;
const STOP_DEADLINE = 3_000;

/** Cores of the load generator, of the server, and of what they need; undefined where there are no two, or no taskset. */
let cores: { readonly generator: string; readonly server: string; readonly aside: string } | undefined;
/** All cores, as a list for taskset. */
let allCores: readonly string[] = [];
let isPinned = true;
const running = new Set<Deno.ChildProcess>();

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A server that accepts connections. Disposing it stops it. */
export class Server implements AsyncDisposable {
  readonly port: number;
  readonly #child: Deno.ChildProcess;
  readonly #errors: Promise<string>;
  readonly #cleanUp: () => Promise<void>;
  #ended = false;

  private constructor(port: number, child: Deno.ChildProcess, cleanUp: () => Promise<void>) {
    this.port = port;
    this.#child = child;
    this.#cleanUp = cleanUp;
    this.#errors = new Response(child.stderr).text();
    void child.status.then(() => this.#ended = true);
  }

  /**
   * Starts a server on a free port that it is told.
   *
   * @param cleanUp runs when it has stopped
   * @throws {Error} with what the server said, when it does not start
   */
  static async start(command: (port: number) => Command, cleanUp = async () => {}): Promise<Server> {
    return await Server.#startOn(chooseCores("server"), command, cleanUp);
  }

  /** The same with one that is not measured: it leaves the measured ones their core. */
  static async startAside(command: (port: number) => Command): Promise<Server> {
    return await Server.#startOn(chooseCores("aside"), command, async () => {});
  }

  static async #startOn(
    core: string | undefined,
    command: (port: number) => Command,
    cleanUp: () => Promise<void>,
  ): Promise<Server> {
    const port = findFreePort();
    const server = new Server(port, spawn(command(port), core, "null"), cleanUp);
    try {
      await server.#waitUntilListening();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** The process and those it started: what the server's CPU time and memory are the sum of. */
  get pids(): readonly number[] {
    const { pid } = this.#child;
    try {
      const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim();
      return [pid, ...children === "" ? [] : children.split(" ").map(Number)];
    } catch {
      return [pid];
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_DEADLINE);
    await this.#child.status;
    clearTimeout(timer);
    await this.#errors;
    await this.#cleanUp();
  }

  async #waitUntilListening(): Promise<void> {
    const deadline = performance.now() + START_DEADLINE;
    while (!this.#ended && performance.now() < deadline) {
      try {
        (await Deno.connect({ hostname: "127.0.0.1", port: this.port })).close();
        return;
      } catch (error) {
        // Before workers share a port, the main thread tries whether it is free: who connects just then is cut off.
        const isEarly = error instanceof Deno.errors.ConnectionRefused ||
          error instanceof Deno.errors.ConnectionReset;
        if (!isEarly) throw error;
        await pause(10);
      }
    }
    if (!this.#ended) this.#child.kill("SIGKILL");
    throw new Error(`The server did not start: ${(await this.#errors).trim() || "it said nothing"}`);
  }
}

/** Runs a program on the generator's core, and resolves to what it printed. */
export async function runOnGeneratorCore(command: Command): Promise<string> {
  const { success, stdout, stderr } = await spawn(command, chooseCores("generator"), "piped").output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (!success) throw new Error(decode(stderr) || "The load generator failed and said nothing");
  return decode(stdout);
}

/** Kills what is running, when time is up or the user interrupts. */
export function killChildren(): void {
  for (const child of running) child.kill("SIGKILL");
}

/**
 * Moves this process to the load generator's core, and remembers another one for the servers.
 *
 * @returns what was done, for the head of the report
 */
export async function pinCores(): Promise<string> {
  allCores = await listAllowedCores();
  const [generator, server, aside = generator] = allCores;
  if (generator === undefined || server === undefined || aside === undefined) {
    return "not pinned: there are no two cores; rates are too low, CPU times hold";
  }
  const args = ["--all-tasks", "--pid", "--cpu-list", generator, String(Deno.pid)];
  try {
    const { success } = await new Deno.Command("taskset", { args, stdout: "null", stderr: "null" }).output();
    if (!success) return "not pinned: taskset failed";
  } catch {
    return "not pinned: there is no taskset";
  }
  cores = { generator, server, aside };
  return `load generator on core ${generator}, server on core ${server}`;
}

/** From now on, servers and the load generator have a core each, or share all of them. */
export function setPinned(value: boolean): void {
  isPinned = value;
}

/** The number of cores that this program was started with. */
export function countCores(): number {
  return Math.max(1, allCores.length);
}

/** Undefined where nothing is pinned, as there are no two cores or no taskset. */
function chooseCores(whose: "generator" | "server" | "aside"): string | undefined {
  if (cores === undefined) return undefined;
  return isPinned ? cores[whose] : allCores.join();
}

function spawn(
  { program, args, env = {} }: Command,
  core: string | undefined,
  stdout: "null" | "piped",
): Deno.ChildProcess {
  const words = core === undefined ? [program, ...args] : ["taskset", "--cpu-list", core, program, ...args];
  const child = new Deno.Command(words[0]!, {
    args: words.slice(1),
    env,
    stdin: "null",
    stdout,
    stderr: "piped",
  }).spawn();
  running.add(child);
  void child.status.then(() => running.delete(child));
  return child;
}

async function listAllowedCores(): Promise<readonly string[]> {
  const status = await Deno.readTextFile("/proc/self/status").catch(() => "");
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "";
  return list.split(",").flatMap((range) => {
    const [first = NaN, last = first] = range.split("-").map(Number);
    return Number.isNaN(first) ? [] : Array.from({ length: last - first + 1 }, (_, i) => String(first + i));
  });
}

function findFreePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
