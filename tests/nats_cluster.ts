/** Real NATS servers with JetStream on free ports of this machine, alone or in a cluster, that tests kill and restart. */
import { cp, rm } from "node:fs/promises";
import { findNatsServer } from "./nats_server.ts";

/** Undefined when there is no `nats-server` to test with. */
export const NATS_SERVER = await findNatsServer();

/** One server, which can be killed and started again on the port and the data it had. */
export class NatsServer {
  readonly name: string;
  readonly port: number;
  readonly #monitor: number;
  readonly #folder: string;
  #child: Deno.ChildProcess | undefined;

  constructor(name: string, port: number, monitor: number, folder: string) {
    this.name = name;
    this.port = port;
    this.#monitor = monitor;
    this.#folder = folder;
  }

  /** Starts it, and resolves when it says that it is healthy: it knows all that the others of its cluster do. */
  async start(): Promise<void> {
    this.#child = new Deno.Command(NATS_SERVER ?? "nats-server", {
      args: ["--config", `${this.#folder}/${this.name}.conf`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    while (!await this.#isHealthy()) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async #isHealthy(): Promise<boolean> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.#monitor}/healthz`);
      await response.body?.cancel();
      return response.ok;
    } catch {
      // It does not listen yet.
      return false;
    }
  }

  /** Copies its data, while it does not run. */
  async keep(): Promise<void> {
    await cp(`${this.#folder}/${this.name}`, `${this.#folder}/${this.name}.kept`, { recursive: true });
  }

  /** Gives it the data back that it had then, as an operator would who has lost the rest. */
  async restore(): Promise<void> {
    await rm(`${this.#folder}/${this.name}`, { recursive: true });
    await cp(`${this.#folder}/${this.name}.kept`, `${this.#folder}/${this.name}`, { recursive: true });
  }

  /** Sends a signal and does not wait for what comes of it. */
  signal(signal: Deno.Signal): void {
    this.#child?.kill(signal);
  }

  /** Ends it without a warning, like a crash. */
  async kill(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    child?.kill(signal);
    await child?.status;
  }
}

/** Servers that know each other. Disposing it ends them and removes their data. */
export class NatsCluster implements AsyncDisposable {
  readonly servers: readonly NatsServer[];
  readonly #folder: string;

  private constructor(servers: readonly NatsServer[], folder: string) {
    this.servers = servers;
    this.#folder = folder;
  }

  /**
   * Starts so many servers, and resolves when each of them says that it is healthy.
   *
   * @param configuration what else their configuration holds, in lines
   */
  static async start(count: number, configuration = ""): Promise<NatsCluster> {
    const folder = await Deno.makeTempDir();
    const ports = pickPorts(count * 3);
    const names = Array.from({ length: count }, (_, i) => `s${i + 1}`);
    const routes = names.map((_, i) => `nats-route://127.0.0.1:${ports[count + i]}`);
    const servers = await Promise.all(names.map(async (name, i) => {
      const cluster = count === 1
        ? ""
        : `cluster { name: test, listen: "127.0.0.1:${ports[count + i]}", routes: [${routes.join(", ")}] }\n`;
      await Deno.writeTextFile(
        `${folder}/${name}.conf`,
        `server_name: ${name}\nlisten: "127.0.0.1:${ports[i]}"\nhttp: "127.0.0.1:${ports[2 * count + i]}"\n` +
          `jetstream { store_dir: "${folder}/${name}" }\n${cluster}${configuration}`,
      );
      return new NatsServer(name, ports[i]!, ports[2 * count + i]!, folder);
    }));
    await Promise.all(servers.map((server) => server.start()));
    return new NatsCluster(servers, folder);
  }

  /** What a server is reached by: `127.0.0.1:PORT` of each, by comma. */
  get hosts(): string {
    return this.servers.map(({ port }) => `127.0.0.1:${port}`).join(",");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Ports nobody listens on at the moment: servers that are started again need ports of their own. */
function pickPorts(count: number): number[] {
  const listeners = Array.from({ length: count }, () => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  const ports = listeners.map(({ addr }) => addr.port);
  for (const listener of listeners) listener.close();
  return ports;
}
