/** Opens the listener that the configuration asks for, and says what is wrong where it cannot. For every thread that listens. */
import type { App } from "../app.ts";
import { describeListenError } from "../base/listen_error.ts";
import { chooseListener, type Config } from "../config/config.ts";
import { readSettingFile } from "../config/setting_file.ts";
import { MessagingError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { type Certificate, type Listener, LISTENERS, parseCertificate } from "../listeners/mod.ts";

/** The server cannot start. Its message is for the operator. */
export class StartError extends Error {}

/**
 * Starts to listen.
 *
 * @throws {StartError} for a port that is taken or not permitted, and for a certificate that is no good
 */
export async function openListener(
  config: Config,
  logger: Logger,
  fetch: App["fetch"],
  metrics: App["metrics"],
): Promise<Listener> {
  const { host: hostname, port } = config;
  const certificate = await readCertificate(config).catch((error) => {
    throw new StartError(describeStartError(error), { cause: error });
  });
  if (certificate !== undefined && certificate.validUntil.getTime() < Date.now()) {
    logger.write("warn", `The certificate of --cert has expired on ${certificate.validUntil.toISOString()}`);
  }
  try {
    return await LISTENERS[chooseListener(config)](
      { ...config, hostname, certificate, logger, metrics },
      fetch,
    );
  } catch (cause) {
    const target = { flag: "--port", host: hostname, port, execPath: Deno.execPath() } as const;
    throw new StartError(describeListenError(cause, target), { cause });
  }
}

async function readCertificate({ cert, key }: Config): Promise<Certificate | undefined> {
  if (cert === undefined || key === undefined) return undefined;
  return parseCertificate(await readSettingFile("--cert", cert), await readSettingFile("--key", key));
}

/** What the operator should read when opening an app fails. */
export function describeStartError(error: unknown): string {
  if (error instanceof MessagingError || error instanceof SyntaxError || error instanceof StartError) {
    return error.message;
  }
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
