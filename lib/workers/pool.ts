/**
 * The main thread of a process with workers: it has the engine and the app that answers for the process, and keeps the
 * worker threads running. One that dies is replaced, and its clients resume on the others or on the new one.
 */
import { fileURLToPath } from "node:url";
import { type App, createApp, OPENERS } from "../app.ts";
import { describeListenError } from "../base/listen_error.ts";
import type { Config } from "../config/config.ts";
import { createSharedLimitMemory, SharedLimitStates } from "../core/shared_limit_states.ts";
import { EngineHost } from "../engines/mod.ts";
import type { Listener } from "../listeners/mod.ts";
import { ENGINE_PROTOCOLS, openProtocols } from "../protocols/mod.ts";
import { StartError } from "./listen.ts";
import { type PoolContext, type PoolOptions, PoolWorker } from "./pool_worker.ts";

/** A worker that dies sooner than this after its start was no good: the next one waits. */
const SOON_MILLISECONDS = 10_000;
const FIRST_PAUSE_MILLISECONDS = 250;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
const CHECK_MILLISECONDS = 1_000;

/** A server of several threads, as `server.ts` sees one of a single thread. */
export interface Pool {
  /** The app of the main thread, which drains and closes the workers too. */
  readonly app: App;
  readonly listener: Listener;
}

/**
 * Opens the engine and starts the workers. Resolves when all of them listen.
 *
 * @throws what `createApp` throws
 * @throws {StartError} for a worker that does not start
 */
export async function openPool(options: PoolOptions): Promise<Pool> {
  const { metrics } = options;
  demandSources();
  const config = demandFreePorts(options.config);
  await using stack = new AsyncDisposableStack();
  const process = crypto.randomUUID();
  const limits = createSharedLimitMemory(options.workers + 1);
  let host: EngineHost | undefined;
  const openers: typeof OPENERS = {
    ...OPENERS,
    async openEngine(url, engineOptions) {
      host = new EngineHost({ log: await OPENERS.openEngine(url, engineOptions) });
      return host.log;
    },
    openProtocols: (services, stack) => openProtocols(services, stack, ENGINE_PROTOCOLS),
  };
  const place = { node: process, process, limitStates: new SharedLimitStates(limits, 0) };
  const app = stack.use(await createApp(config, options.logger, metrics, openers, place));
  if (host === undefined) throw new TypeError("The app has not opened the engine");
  host.isPrivate = (channel) => app.isPrivate(channel);
  const pool = new WorkerPool({ ...options, config, process, limits, host, app });
  stack.defer(() => pool.end());
  await pool.start();
  const opened = stack.move();
  return {
    app: {
      hub: app.hub,
      metrics: app.metrics,
      get connectionCount() {
        return app.connectionCount;
      },
      paths: app.paths,
      isPrivate: app.isPrivate,
      fetch: (request, peer) => app.fetch(request, peer),
      drain: () => pool.drain(),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    },
    listener: pool,
  };
}

/** The runtime checks what a thread loads, and not what the program itself does. */
function demandSources(): void {
  const missing = ["../", "../../deno.json"].map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .filter((path) => Deno.permissions.querySync({ name: "read", path }).state !== "granted");
  if (missing.length === 0) return;
  throw new StartError(
    `Workers read the server's sources, which Deno's permissions do not cover: use deno task start, or add ` +
      `--allow-read=${missing.join(",")} to the flags you start with, or use --workers 1`,
  );
}

/**
 * Checks that the ports are free: with ports that are shared, a second server would start beside the first and take half
 * of its clients, and MQTT would get half of the requests where both ports are the same.
 *
 * @returns the configuration with a port for MQTT where any free one is asked for: it must be the same for all workers
 */
function demandFreePorts(config: Config): Config {
  const { host, port, mqttPort, reusePort } = config;
  if (reusePort && mqttPort !== 0) return config;
  using _http = reusePort ? undefined : demandFreePort("--port", host, port);
  if (mqttPort === undefined) return config;
  using mqtt = demandFreePort("--mqtt-port", host, mqttPort);
  return { ...config, mqttPort: mqtt.addr.port };
}

function demandFreePort(flag: "--port" | "--mqtt-port", host: string, port: number): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: host, port });
  } catch (cause) {
    const target = { flag, host, port, execPath: Deno.execPath() };
    throw new StartError(describeListenError(cause, target), { cause });
  }
}

class WorkerPool implements Listener {
  readonly #context: PoolContext;
  readonly #workers: (PoolWorker | undefined)[] = [];
  readonly #pauses: number[] = [];
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #check: ReturnType<typeof setInterval>;
  #checkedAt = performance.now();
  #address = { hostname: "", port: 0 };
  #restarts = 0;
  #draining = false;

  constructor(context: PoolContext) {
    this.#context = context;
    this.#check = setInterval(() => this.#endStuck(), CHECK_MILLISECONDS);
    const { metrics, workers } = context;
    metrics.addition = (gauge) => this.#live().reduce((sum, { share }) => sum + share.read(gauge), 0);
    metrics.refresh = () => this.#collect();
    metrics.addGauges({
      name: "raindrops_workers",
      help: "Worker threads that serve",
      kind: "gauge",
      ofProcess: true,
      read: () => this.#live().length,
    }, {
      name: "raindrops_worker_restarts_total",
      help: `Worker threads, of ${workers}, that died and were replaced`,
      kind: "counter",
      ofProcess: true,
      read: () => this.#restarts,
    });
  }

  get hostname(): string {
    return this.#address.hostname;
  }

  get port(): number {
    return this.#address.port;
  }

  /** Starts all workers. The first one finds out the port. */
  async start(): Promise<void> {
    const { workers, config } = this.#context;
    const started = Array.from({ length: workers }, (_, i) => this.#open(i + 1));
    // Those that are still opening when another one fails end with the pool.
    for (const { ready } of started) ready.catch(() => {});
    const [first, ...others] = started as [PoolWorker, ...PoolWorker[]];
    this.#address = await this.#listen(first, config.port);
    await Promise.all(others.map((worker) => this.#listen(worker, this.port)));
  }

  drain(): void {
    this.#draining = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#context.app.drain();
    for (const worker of this.#live()) worker.order({ kind: "drain" });
  }

  async close(deadlineMilliseconds: number): Promise<void> {
    this.#draining = true;
    await Promise.all(this.#live().map((worker) => worker.close(deadlineMilliseconds)));
  }

  /** Ends what still runs. */
  async end(): Promise<void> {
    this.#draining = true;
    clearInterval(this.#check);
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(this.#live().map((worker) => worker.end()));
  }

  #endStuck(): void {
    const now = performance.now();
    // Time in which this thread itself could not listen does not count.
    const deaf = Math.max(0, now - this.#checkedAt - 2 * CHECK_MILLISECONDS);
    this.#checkedAt = now;
    for (const worker of this.#live()) {
      worker.excuse(deaf);
      worker.endIfStuck(now);
    }
  }

  #live(): PoolWorker[] {
    return this.#workers.filter((worker) => worker !== undefined);
  }

  #open(number: number): PoolWorker {
    const worker = new PoolWorker(this.#context, number, (reason) => this.#lose(worker, reason));
    this.#workers[number] = worker;
    return worker;
  }

  /** Has a worker listen once it knows who is connected to those that may serve already. */
  #listen(worker: PoolWorker, port: number): ReturnType<PoolWorker["listen"]> {
    const isOther = (other: PoolWorker) => other !== worker && other.hasOpened;
    return worker.listen(port, () => this.#live().filter(isOther).map(({ node }) => node));
  }

  #lose(worker: PoolWorker, reason: string): void {
    const { number } = worker;
    const { logger } = this.#context;
    if (this.#workers[number] !== worker) return;
    this.#workers[number] = undefined;
    if (this.#draining) {
      return logger.write("error", "worker died while stopping", { worker: number, reason });
    }
    // The server does not start, and says why.
    if (!worker.hasListened && this.port === 0) return;
    const isSoon = worker.age(performance.now()) < SOON_MILLISECONDS;
    const before = isSoon ? this.#pauses[number] ?? 0 : 0;
    const pause = this.#pauses[number] = isSoon
      ? Math.min(LONGEST_PAUSE_MILLISECONDS, Math.max(FIRST_PAUSE_MILLISECONDS, before * 2))
      : 0;
    logger.write("error", "worker died, replacing it", {
      worker: number,
      reason,
      seconds: pause === 0 ? undefined : pause / 1_000,
    });
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#replace(number);
    }, pause);
    this.#timers.add(timer);
  }

  #replace(number: number): void {
    if (this.#draining) return;
    this.#restarts++;
    this.#listen(this.#open(number), this.port).then(
      () => this.#context.logger.write("info", "worker replaced", { worker: number }),
      // It is dead, and `#lose` has seen to the next one.
      () => {},
    );
  }

  /** Has all workers report what they have counted. */
  async #collect(): Promise<void> {
    await Promise.all(this.#live().map((worker) => worker.report()));
  }
}
