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
  FORMER_VARIABLES,
  listSecrets,
  parseConfig,
} from "./lib/config/config.ts";
import { describeCredential } from "./lib/config/access.ts";
import { MessagingError } from "./lib/core/errors.ts";
import { Metrics } from "./lib/core/metrics/metrics.ts";
import { type Certificate, type Listener, LISTENERS, parseCertificate } from "./lib/listeners/mod.ts";
import { LineWriter } from "./lib/observe/line_writer.ts";
import { LineLogger } from "./lib/observe/logger.ts";
import { readSettingFile } from "./lib/config/files.ts";
import { VERSION } from "./lib/config/version.ts";

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

/** All of the environment where that is permitted, so that misspelt variables are noticed, else what is known. */
function readEnvironment(): Record<string, string | undefined> {
  if (Deno.permissions.querySync({ name: "env" }).state === "granted") return Deno.env.toObject();
  const names = [...ENVIRONMENT_VARIABLES, ...FORMER_VARIABLES];
  return Object.fromEntries(names.map((name) => [name, Deno.env.get(name)]));
}

async function listen(config: Config, logger: LineLogger, app: App): Promise<Listener> {
  const { host: hostname, port } = config;
  const certificate = await readCertificate(config).catch((error) => fail(logger, describeStartError(error)));
  if (certificate !== undefined && certificate.validUntil.getTime() < Date.now()) {
    logger.write("warn", `The certificate of --cert has expired on ${certificate.validUntil.toISOString()}`);
  }
  try {
    return await LISTENERS[chooseListener(config)](
      { ...config, hostname, certificate, logger },
      (request, peer) => app.fetch(request, peer),
    );
  } catch (error) {
    return fail(logger, describeListenError(error, hostname, port));
  }
}

async function readCertificate({ cert, key }: Config): Promise<Certificate | undefined> {
  if (cert === undefined || key === undefined) return undefined;
  return parseCertificate(await readSettingFile("--cert", cert), await readSettingFile("--key", key));
}

function describeListenError(error: unknown, host: string, port: number): string {
  if (error instanceof Deno.errors.AddrInUse) {
    return `Port ${port} on ${host} is in use: choose another with --port, or --port 0 for any free one`;
  }
  if (error instanceof Deno.errors.NotCapable) {
    return `Deno's permissions do not suffice to listen on ${host} (${error.message}): use deno task serve ` +
      `instead of deno task start, or start with deno run --allow-net=${host} and the other flags of the start task`;
  }
  return `Cannot listen on ${host}:${port}: ${error instanceof Error ? error.message : error}`;
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

function describeStartError(error: unknown): string {
  if (error instanceof MessagingError || error instanceof SyntaxError) return error.message;
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

const config = readConfig();
const logger = new LineLogger({
  format: config.logFormat,
  level: config.logLevel,
  secrets: listSecrets(config),
  write: (lines) => stderr.write(lines),
});

const metrics = new Metrics();
function reportUnexpected(what: string, error: unknown): void {
  const isError = error instanceof Error;
  logger.write("error", what, { reason: isError ? error.stack ?? error.message : String(error) });
  metrics.refused("internal", { what, message: isError ? error.message : String(error) });
}

// No client may end the process with an exception, not even one raised inside the runtime.
globalThis.addEventListener("error", (event) => {
  event.preventDefault();
  reportUnexpected("unexpected error", event.error ?? event.message);
});
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  reportUnexpected("unexpected rejection", event.reason);
});

const app = await createApp(config, logger, metrics).catch((error) =>
  fail(logger, describeStartError(error))
);
const listener = await listen(config, logger, app);
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
