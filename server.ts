/**
 * The program: reads flags and environment, starts the server, logs, and drains on SIGTERM or SIGINT. The only file
 * that touches arguments, environment, signals and the exit status.
 */
import { type App, createApp } from "./lib/app.ts";
import {
  chooseListener,
  type Config,
  ENVIRONMENT_VARIABLES,
  formatHelp,
  listMistakenVariables,
  listSecrets,
  parseConfig,
} from "./lib/config/config.ts";
import { describeCredential } from "./lib/config/access.ts";
import { Metrics } from "./lib/core/metrics/metrics.ts";
import type { Listener } from "./lib/listeners/mod.ts";
import { LineWriter } from "./lib/observe/line_writer.ts";
import { LineLogger } from "./lib/observe/logger.ts";
import { catchUnexpected } from "./lib/observe/unexpected.ts";
import { VERSION } from "./lib/config/version.ts";
import { countWorkers, describeStartError, openListener } from "./lib/workers/mod.ts";

/** How long open connections get to end on their own once the server drains. */
const DRAIN_MILLISECONDS = 5_000;

/** How long stopping may take in all; the process ends then, whatever is still open. */
const STOP_MILLISECONDS = 9_000;

/** How long whoever reads the log gets to take the last lines. */
const LAST_LINES_MILLISECONDS = 1_000;

const stderr = new LineWriter(Deno.stderr);

function readConfig(): Config {
  try {
    const config = parseConfig(Deno.args, readEnvironment());
    if (typeof config !== "string") return config;
    console.log(config === "help" ? formatHelp() : `raindrops ${VERSION}`);
    Deno.exit(0);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    console.error(error.message);
    Deno.exit(2);
  }
}

/** All of the environment where that is permitted, else what is known and what it is mistaken for. */
function readEnvironment(): Record<string, string | undefined> {
  if (isPermitted()) return Deno.env.toObject();
  // Asking Deno about each takes long.
  const names = [...ENVIRONMENT_VARIABLES, ...isPermitted("RAINDROPS_") ? listMistakenVariables() : []];
  return Object.fromEntries(names.map((name) => [name, Deno.env.get(name)]));
}

/** Whether a variable may be read, or all of them. */
function isPermitted(variable?: string): boolean {
  return Deno.permissions.querySync({ name: "env", ...variable && { variable } }).state === "granted";
}

function fail(logger: LineLogger, message: string): never {
  logger.write("error", message);
  exit(logger, 1);
}

function exit(logger: LineLogger, status: number): never {
  logger.flush();
  stderr.flush();
  Deno.exit(status);
}

const config = readConfig();
const logger = new LineLogger({
  format: config.logFormat,
  level: config.logLevel,
  secrets: listSecrets(config),
  write: (lines) => stderr.write(lines),
});

const metrics = new Metrics();
// No client may end the process with an exception, not even one raised inside the runtime.
catchUnexpected(logger, metrics);

/** Starts to serve: in this thread, or in workers. */
async function serve(): Promise<{ app: Pick<App, "drain"> & AsyncDisposable; listener: Listener }> {
  const workers = countWorkers(config, logger);
  if (workers > 1) {
    const { openPool } = await import("./lib/workers/pool.ts");
    return await openPool({ config, workers, logger, metrics, writeLines: (lines) => stderr.write(lines) });
  }
  const app = await createApp(config, logger, metrics);
  const listener = await openListener(
    config,
    logger,
    (request, peer) => app.fetch(request, peer),
    app.metrics,
  );
  return { app, listener };
}

const { app, listener } = await serve().catch((error) => fail(logger, describeStartError(error)));
const host = listener.hostname.includes(":") ? `[${listener.hostname}]` : listener.hostname;
const scheme = config.cert === undefined ? "http" : "https";
const url = `${scheme}://${host === "0.0.0.0" || host === "[::]" ? "localhost" : host}:${listener.port}/`;
logger.announce(`Raindrops is live: open ${url}`);
const credential = {
  none: "",
  token: '-H "Authorization: Bearer $TOKEN" ',
  key: '-H "X-API-Key: $KEY" ',
}[describeCredential(config)];
logger.announce(`Try: curl ${credential}-d 'it rains' ${url}`);

logger.write("info", "listening", { port: listener.port, listener: chooseListener(config) });

let draining = false;
async function drain(signal: string): Promise<void> {
  if (draining) exit(logger, 130);
  draining = true;
  logger.write("info", "draining", { signal });
  setTimeout(
    () => fail(logger, "Stopping took too long: the process ends with work undone"),
    STOP_MILLISECONDS,
  );
  try {
    app.drain();
    await listener.close(DRAIN_MILLISECONDS);
    await app[Symbol.asyncDispose]();
    logger.write("info", "stopped");
    logger.flush();
    await stderr.finish(LAST_LINES_MILLISECONDS);
  } catch (error) {
    fail(logger, `Stopping failed: ${error instanceof Error ? error.stack : error}`);
  }
  exit(logger, 0);
}
Deno.addSignalListener("SIGTERM", () => void drain("SIGTERM"));
Deno.addSignalListener("SIGINT", () => void drain("SIGINT"));
