/** A whole Raindrops inside the test's process: the real app behind a real listener on a free port. */
import { type App, createApp } from "../lib/app.ts";
import { chooseListener, type Config, parseConfig } from "../lib/config/config.ts";
import type { Logger } from "../lib/core/logger.ts";
import { type Listener, LISTENERS } from "../lib/listeners/mod.ts";
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
 * of the tests themselves chooses the listener for all that do not.
 */
export function createConfig(...settings: readonly string[]): Config {
  const isVariable = (setting: string) => /^[A-Z_]+=/.test(setting);
  const variables = settings.filter(isVariable).map((setting) => setting.split(/=(.*)/s).slice(0, 2));
  const flags = settings.filter((setting) => !isVariable(setting));
  const listener = Deno.env.get("RAINDROPS_LISTENER") ?? "auto";
  const config = parseConfig(
    ["--port", "0", "--engine", "memory:", "--listener", listener, ...flags],
    Object.fromEntries(variables),
  );
  if (typeof config === "string") throw new TypeError(`--${config} makes no configuration`);
  return config;
}

/** Starts an app on a free port. Disposing it ends every connection, whatever clients do. */
export async function startApp(...settings: readonly string[]): Promise<TestApp> {
  const config = createConfig(...settings);
  const logger = new RecordingLogger();
  const app = await createApp(config, logger);
  const listener = await listen(config, logger, app);
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

async function listen(config: Config, logger: Logger, app: App): Promise<Listener> {
  return await LISTENERS[chooseListener(config)](
    { ...config, hostname: config.host, logger },
    (request, peer) => app.fetch(request, peer),
  );
}
