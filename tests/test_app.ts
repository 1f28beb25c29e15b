/** A whole Raindrops inside the test's process: the real app behind a real listener on a free port. */
import { type App, createApp } from "../lib/app.ts";
import { listSecrets } from "../lib/config/config.ts";
import { chooseListener, type Config, parseConfig } from "../lib/config/config.ts";
import type { LogFields, Logger, LogLevel } from "../lib/core/logger.ts";
import { Metrics } from "../lib/core/metrics/metrics.ts";
import { type Listener, LISTENERS } from "../lib/listeners/mod.ts";
import { LineLogger } from "../lib/observe/logger.ts";
import { openPool } from "../lib/workers/pool.ts";
import { RecordingLogger } from "./fakes/recording_logger.ts";

export interface TestApp extends AsyncDisposable {
  readonly app: App;
  readonly port: number;
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  /** `ws://127.0.0.1:PORT`, without a slash at the end. */
  readonly socketUrl: string;
  readonly logger: RecordingLogger;
}

/**
 * Configuration as the given settings make it, with a memory log and a free port unless they say otherwise. Settings
 * are flags, and environment variables such as `RAINDROPS_TOKEN_SECRET=secret`. `RAINDROPS_LISTENER` in the environment
 * of the tests themselves chooses the listener for all that do not, `RAINDROPS_WORKERS` the number of workers.
 */
export function createConfig(...settings: readonly string[]): Config {
  const isVariable = (setting: string) => /^[A-Z_]+=/.test(setting);
  const variables = settings.filter(isVariable).map((setting) => setting.split(/=(.*)/s).slice(0, 2));
  const flags = settings.filter((setting) => !isVariable(setting));
  const listener = Deno.env.get("RAINDROPS_LISTENER") ?? "auto";
  const workers = Deno.env.get("RAINDROPS_WORKERS") ?? "1";
  const config = parseConfig(
    ["--port", "0", "--engine", "memory:", "--listener", listener, "--workers", workers, ...flags],
    Object.fromEntries(variables),
  );
  if (typeof config === "string") throw new TypeError(`--${config} makes no configuration`);
  return config;
}

/** Starts an app on a free port. Disposing it ends every connection, whatever clients do. */
export async function startApp(...settings: readonly string[]): Promise<TestApp> {
  const config = createConfig(...settings);
  const logger = new RecordingLogger();
  return toTestApp(logger, await serve(config, logger));
}

/** Starts an app with workers. `thread` is the module of each; the usual one if left out. */
export async function startWorkers(
  settings: readonly string[],
  thread?: URL,
  startMilliseconds?: number,
): Promise<TestApp> {
  const logger = new RecordingLogger();
  const config = createConfig(...settings);
  const { workers } = config;
  return toTestApp(logger, await serveByWorkers(config, Number(workers), logger, thread, startMilliseconds));
}

function toTestApp(
  logger: RecordingLogger,
  { app, listener }: { readonly app: App; readonly listener: Listener },
): TestApp {
  const { port } = listener;
  return {
    app,
    port,
    url: `http://127.0.0.1:${port}`,
    socketUrl: `ws://127.0.0.1:${port}`,
    logger,
    async [Symbol.asyncDispose]() {
      app.drain();
      await listener.close(1_000);
      await app[Symbol.asyncDispose]();
    },
  };
}

async function serve(config: Config, logger: RecordingLogger): Promise<{ app: App; listener: Listener }> {
  if (config.workers !== "auto" && config.workers > 1) {
    return await serveByWorkers(config, config.workers, logger);
  }
  const app = await createApp(config, logger);
  return { app, listener: await listen(config, logger, app) };
}

/** Workers log lines, of which the entries are made again. */
async function serveByWorkers(
  config: Config,
  workers: number,
  recording: RecordingLogger,
  thread?: URL,
  startMilliseconds?: number,
) {
  const writeLines = (lines: string) => {
    for (const line of lines.trim().split("\n")) {
      const { time: _, level, event, ...fields }: { level: LogLevel; event: string } & LogFields = JSON.parse(
        line,
      );
      recording.write(level, event, fields);
    }
  };
  const lines = { format: "json", level: "debug" } as const;
  const logger = new LineLogger({ ...lines, secrets: listSecrets(config), write: writeLines });
  const logged = { ...config, logFormat: lines.format, logLevel: lines.level };
  const options = {
    config: logged,
    workers,
    logger,
    metrics: new Metrics(),
    writeLines,
    ...startMilliseconds !== undefined && { startMilliseconds },
  };
  // Little enough to be used up in a moment.
  return await openPool(thread === undefined ? options : { ...options, thread, heapMegabytes: 128 });
}

async function listen(config: Config, logger: Logger, app: App): Promise<Listener> {
  return await LISTENERS[chooseListener(config)](
    { ...config, hostname: config.host, logger, metrics: app.metrics },
    (request, peer) => app.fetch(request, peer),
  );
}
