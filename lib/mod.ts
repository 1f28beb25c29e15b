/**
 * Raindrops as a part of another Deno program: {@linkcode createApp} makes an app whose `fetch` answers the requests
 * of your own `Deno.serve`, WebSockets included, and whose `hub` publishes from your code.
 *
 * @module
 */
import { createApp as openApp } from "./app.ts";
import { completeConfig, type Config } from "./config/config.ts";
import type { Receipt } from "./core/log.ts";
import type { Logger } from "./core/logger.ts";
import type { Draft } from "./core/message.ts";
import { createPeer } from "./listeners/mod.ts";

export { type Config, OPTIONS } from "./config/options.ts";
export type { Setting, Settings, Values } from "./base/setting.ts";
export { VERSION } from "./config/version.ts";
export type { Position, Receipt } from "./core/log.ts";
export type { LogFields, Logger, LogLevel } from "./core/logger.ts";
export type { Draft, MessageProperties, Payload, Sender } from "./core/message.ts";

/**
 * What can be set, under the same names as the flags of the program: `maxMessageBytes` is `--max-message-bytes`.
 * Sizes are in bytes and times in seconds. Whatever is left out has the program's default, but for the engine.
 */
export interface Options extends Partial<Omit<Config, "port" | "listener" | "reusePort" | "workers">> {
  /** Where messages are kept: `memory:`, the default here, `sqlite:PATH` or `nats://HOST:PORT`. */
  readonly engine?: string;
  /** The address your server listens on. Beyond loopback it takes a key, or `open`. `127.0.0.1` when left out. */
  readonly host?: string;
  /** Takes what would go to the program's log. Warnings and errors go to the console when left out. */
  readonly logger?: Logger;
}

/** Publishes messages and counts clients. */
export interface AppHub {
  /** How many clients are connected. */
  readonly clientCount: number;
  /**
   * Stores a message, then delivers it to all subscribers of its channel.
   *
   * @returns where the message stands in its channel
   * @throws an error whose `code` says why, such as `too_large`: the message is too large, its channel's name too long,
   * or the engine refuses it
   */
  publish(draft: Draft): Promise<Receipt>;
}

/** A Raindrops without a port. Disposing it ends every connection and closes the engine. */
export interface EmbeddedApp extends AsyncDisposable {
  /** Publishes from your code. */
  readonly hub: AppHub;
  /**
   * Answers a request of `Deno.serve`. It never rejects.
   *
   * @param request whose path is the channel
   * @param info what `Deno.serve` hands over with the request: who sent it
   */
  fetch(request: Request, info: Deno.ServeHandlerInfo): Promise<Response>;
  /** Refuses new requests and ends every connection, telling clients to come back. */
  drain(): void;
}

/** Writes warnings and errors to the console. */
const CONSOLE: Logger = {
  write(level, event, fields = {}) {
    if (level === "error") console.error(event, fields);
    else if (level === "warn") console.warn(event, fields);
  },
};

/**
 * Opens the engine and puts an app together.
 *
 * @throws {SyntaxError} for options that contradict each other, and files they name that cannot be read or parsed
 * @throws an error whose `code` says why, such as `log_unavailable`, when the engine cannot be opened
 */
export async function createApp(options: Options = {}): Promise<EmbeddedApp> {
  const { logger = CONSOLE, ...settings } = options;
  const config = completeConfig({ engine: "memory:", ...settings });
  const app = await openApp(config, logger);
  const upgrade = { idleTimeout: config.idleTimeout, logger };
  return {
    hub: app.hub,
    fetch: (request, info) => app.fetch(request, createPeer(request, info, upgrade)),
    drain: () => app.drain(),
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  };
}
