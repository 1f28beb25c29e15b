/**
 * The composition root: opens the engine, the services and the protocols, and puts them behind one `fetch`. Listeners
 * call it with each request; `server.ts` and tests create it.
 */
import type { Hono } from "hono";
import { createApiRoutes } from "./api/mod.ts";
import { digestOwner } from "./auth/owner_digest.ts";
import { LoopLag } from "./base/loop_lag.ts";
import { describeCredential, describeOperators, isOpenOnLoopback, openGate } from "./config/access.ts";
import type { Config } from "./config/config.ts";
import { readHooks, readKeys, readNatsCredentials, readRules } from "./config/files.ts";
import { readSettingFile } from "./config/setting_file.ts";
import { VERSION } from "./config/version.ts";
import { Cluster } from "./core/cluster/cluster.ts";
import { MessagingError } from "./core/errors.ts";
import { Hub } from "./core/hub.ts";
import type { LimitStates } from "./core/limit_states.ts";
import { Limits } from "./core/limits.ts";
import type { Rules } from "./core/rules.ts";
import { readSharedClock } from "./core/shared_limit_states.ts";
import type { Logger } from "./core/logger.ts";
import { ChannelMaps } from "./core/maps/maps.ts";
import { MemoryState } from "./core/memory_state.ts";
import { Metrics } from "./core/metrics/metrics.ts";
import { Scheduler } from "./core/schedule/scheduler.ts";
import type { Peer } from "./core/socket.ts";
import { openEngine } from "./engines/mod.ts";
import { openCallouts, openWebhooks } from "./hooks/mod.ts";
import { Connections } from "./http/connections.ts";
import { createFrontDoor, limitStrangers } from "./http/front_door.ts";
import { CHANNEL_METHODS, createProblem } from "./http/problem.ts";
import { createRefuse } from "./http/refuse.ts";
import { Inspector } from "./inspect/inspector.ts";
import { createGauges } from "./observe/gauges.ts";
import { readCpuSeconds } from "./observe/process_gauges.ts";
import { createWatchRoutes } from "./observe/routes.ts";
import { openTelemetry } from "./observe/telemetry.ts";
import { Pages } from "./pages/pages.ts";
import { type Env, openProtocols } from "./protocols/mod.ts";
import { createPushRoutes, openPush } from "./push/mod.ts";

/** A running Raindrops without a port: hand it requests. Disposing it closes everything it opened. */
export interface App extends AsyncDisposable {
  readonly hub: Hub;
  /** The nodes that share the engine; undefined for an engine that has one node only. */
  readonly cluster?: Cluster | undefined;
  /** What it counts of itself. */
  readonly metrics: Metrics;
  /** How many WebSockets and streams there are. */
  readonly connectionCount: number;
  /** Whether a protocol keeps a channel private. */
  isPrivate(channel: string): boolean;
  /** Every path that is mounted, such as `/connection/sse` and `*`. */
  readonly paths: readonly string[];
  /** Refuses new work and ends every connection, telling clients that the server restarts. */
  drain(): void;
  /** Answers a request; never rejects. */
  fetch(request: Request, peer: Peer): Promise<Response>;
}

/** Where an app runs that is a thread of a process with workers. */
export interface Place {
  /** The id of this thread as a node. */
  readonly node: string;
  /** The id of the thread that has the engine, which stands for the process. */
  readonly process: string;
  /** What limits remember, shared by all threads. */
  readonly limitStates: LimitStates;
}

/** The steps of opening that can fail. Tests put others in their place. */
export const OPENERS = {
  readRules,
  loadPages: (config: Config, { pushPatterns }: Rules) =>
    Pages.load(new URL("../static/", import.meta.url), {
      ...config,
      credential: describeCredential(config),
      operators: describeOperators(config),
      pushes: pushPatterns.length > 0,
    }),
  readKeys,
  readNatsCredentials,
  readHooks,
  openEngine,
  openWebhooks,
  openCallouts,
  openPush,
  openTelemetry,
  openInspector: (options: ConstructorParameters<typeof Inspector>[0]) => new Inspector(options),
  openProtocols,
};

/**
 * Opens the engine and puts everything together. What was opened is closed again when a later step fails.
 *
 * @throws {SyntaxError} for a settings file that is missing or does not parse
 * @throws what opening the engine throws
 */
export async function createApp(
  config: Config,
  logger: Logger,
  metrics: Metrics = new Metrics(),
  openers: typeof OPENERS = OPENERS,
  place?: Place,
): Promise<App> {
  await using stack = new AsyncDisposableStack();
  const rules = await openers.readRules(config);
  const pages = await openers.loadPages(config, rules);
  const keys = stack.use(await openers.readKeys(config));
  const nats = await openers.readNatsCredentials(config);
  const hooks = await openers.readHooks(config);
  const callouts = hooks.callouts && stack.use(openers.openCallouts(hooks.callouts, logger));
  const { maxChannels, maxMessageBytes, maxChannelLength } = config;
  const forgetAfter = config.forgetChannels * 1_000;
  const engine = { rules, maxChannels, forgetAfter, logger, metrics, nats };
  const log = stack.use(await openers.openEngine(config.engine, engine));
  const telemetry = await openers.openTelemetry(metrics);
  stack.use(new LoopLag(metrics.lag));

  const { node = crypto.randomUUID(), process } = place ?? {};
  const cluster = log.bus && stack.use(new Cluster({ bus: log.bus, node, process, logger }));
  const identity = { node, process, name: config.nodeName, version: VERSION, startedAt: Date.now() };
  const core = { log, rules, logger, metrics, identity, cluster, tracePublish: telemetry?.tracePublish };
  const state = log.state ?? new MemoryState();
  const limits = place === undefined
    ? new Limits({ ...config, digestOwner })
    : new Limits({ ...config, digestOwner }, readSharedClock, place.limitStates);
  const { shares } = limits;
  const maps = stack.use(new ChannelMaps({ log, rules, state, logger, limits: config, shares }));
  const hub = new Hub({ ...core, maps, maxMessageBytes, maxChannelLength });
  void maps.open();
  const gate = openGate(config, rules, keys, logger, callouts);
  const proxies = { networks: config.trustedProxy, header: config.proxyHeader };
  const connections = new Connections({ limits, proxies, metrics, logger });
  const outboxLimits = { messages: config.maxQueueMessages, bytes: config.maxQueueBytes };
  const scheduler = stack.use(new Scheduler({ ...core, hub, state, limits: config, shares }));
  const watched = { hub, log, gate, logger, readCpuSeconds, cluster, scheduler };
  const { tokenSecret: secret, tokenAudience: audience, tokenIssuer: issuer } = config;
  const tokens = { keys, secret, audience, issuer };
  const inspector = stack.use(
    openers.openInspector({ ...watched, tokens, webhooks: () => sender }),
  );
  const shared = { hub, gate, rules, limits, connections, logger, cluster, outboxLimits, pages, state };
  const services = { ...shared, scheduler, readSettingFile };
  const protocols = await openers.openProtocols({ ...services, settings: config }, stack);
  const protocolWebhooks = protocols.flatMap(({ webhooks }) => webhooks ?? []);
  const sender = stack.use(
    await openers.openWebhooks({
      hub,
      log,
      state,
      logger,
      webhooks: hooks.webhooks,
      protocolWebhooks,
      cluster,
    }),
  );
  const pushes = stack.use(
    await openers.openPush({ hub, log, state, gate, rules, logger, settings: config, shares: limits.shares }),
  );
  metrics.addGauges(
    ...createGauges(hub),
    ...maps.gauges,
    ...scheduler.gauges,
    ...sender?.gauges ?? [],
    ...callouts?.gauges ?? [],
    ...pushes?.gauges ?? [],
  );
  telemetry?.reportMetrics();

  const refuse = createRefuse(metrics, logger);
  const createRoutes = () =>
    createWatchRoutes<Env>({ hub, log, metrics, gate, createProblem })
      .onError((error, c) => refuse(error, c.req.raw, c.env.peer.address));
  const drainingRoutes = createRoutes().notFound(() => {
    throw new MessagingError("draining", "The server is restarting: try again in a moment");
  });
  const routes: Hono<Env> = createRoutes();
  routes.options("*", () => new Response(null, { status: 204, headers: { allow: CHANNEL_METHODS } }));
  for (const path of ["/api/*", "/_inspect/*"]) routes.use(path, limitStrangers(gate, limits));
  routes.route("/", createApiRoutes({ ...config, hub, gate, cluster, log, logger, scheduler }));
  routes.route("/_inspect", inspector.routes);
  routes.route("/", createPushRoutes({ ...config, pushes, gate, limits }));
  for (const protocol of protocols) routes.route("/", protocol.routes);
  routes.notFound((c) => {
    throw new MessagingError("method_not_allowed", `${c.req.method} is not answered: use ${CHANNEL_METHODS}`);
  });

  const drain = () => {
    hub.drain();
    inspector[Symbol.dispose]();
    for (const protocol of protocols) protocol.drain?.();
  };
  stack.defer(drain);
  const opened = stack.move();
  return {
    hub,
    cluster,
    metrics,
    get connectionCount() {
      return limits.connections;
    },
    isPrivate: gate.isProtected,
    paths: [...new Set(routes.routes.map(({ path }) => path))],
    drain,
    fetch: createFrontDoor({
      connections,
      origins: { ...config, openOnLoopback: isOpenOnLoopback(config, keys, callouts) },
      refuse,
      showProblem: (request, response) => pages.showProblem(request, response),
      direct: (request, peer) => hub.draining ? undefined : protocols.at(-1)?.direct?.(request, peer),
      route: (request, peer) => (hub.draining ? drainingRoutes : routes).fetch(request, { peer }),
    }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
