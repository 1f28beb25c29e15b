/**
 * The composition root: puts log, hub, protocols and pages together behind one `fetch`. Listeners call it with
 * each request; `server.ts` and tests create it.
 */
import { Hono } from "hono";
import { ApiKeys } from "./auth/api_keys.ts";
import type { Keys } from "./auth/keys.ts";
import { checkOrigin } from "./auth/origin.ts";
import { TokenVerifier } from "./auth/tokens.ts";
import { type Config, isExposed } from "./config/config.ts";
import { Cluster } from "./core/cluster/cluster.ts";
import { MessagingError, toMessagingError } from "./core/errors.ts";
import { Hub } from "./core/hub.ts";
import { Limits } from "./core/limits.ts";
import type { Log } from "./core/log.ts";
import type { Logger } from "./core/logger.ts";
import { LoopLag } from "./base/loop_lag.ts";
import { Metrics } from "./core/metrics/metrics.ts";
import type { Rules } from "./core/rules.ts";
import type { Peer } from "./core/socket.ts";
import { Access, demandKey } from "./auth/access.ts";
import { answerCommands, type ApiContext, handleApi, Versions } from "./api/api.ts";
import { handleBackup } from "./api/backup.ts";
import { Connections } from "./http/connections.ts";
import { withCors } from "./http/cors.ts";
import { handleHealth, handleReady } from "./observe/health.ts";
import { handleClear } from "./protocols/url/history.ts";
import { Inspector } from "./inspect/inspector.ts";
import { handleMetrics } from "./observe/metrics_page.ts";
import { Pages } from "./pages/pages.ts";
import { CHANNEL_METHODS, createProblem } from "./http/problem.ts";
import { createProcessGauges } from "./observe/process_gauges.ts";
import { handlePublish } from "./protocols/url/publish.ts";
import { openLog } from "./engines/mod.ts";
import { openTelemetry, type Telemetry } from "./observe/telemetry.ts";
import { answerEmulation, type CentrifugeContext, type ProtocolContext } from "./protocols/mod.ts";
import { createCentrifugeRoutes } from "./protocols/centrifuge/routes.ts";
import { ReadRoute } from "./protocols/url/read.ts";
import { VERSION } from "./config/version.ts";
import { describeOpenness, readKeys, readNatsCredentials, readRules } from "./config/files.ts";

/** A running Raindrops without a port: hand it requests. Disposing it closes the log. */
export interface App extends AsyncDisposable {
  readonly hub: Hub;
  /** What it counts of itself. */
  readonly metrics: Metrics;
  /** How many WebSockets and streams there are. */
  readonly connectionCount: number;
  /** Refuses new work and ends every connection, telling clients that the server restarts. */
  drain(): void;
  /** Answers a request; never rejects. */
  fetch(request: Request, peer: Peer): Promise<Response>;
}

type Env = { Bindings: { readonly peer: Peer } };

/** How sessions of the Centrifuge protocol end when the server drains. */
const SHUTDOWN = { code: 3001, reason: "shutdown" };

/**
 * Opens the log and puts everything together.
 *
 * @throws {SyntaxError} for a rules file that is missing or does not parse
 * @throws what opening the log throws
 */
export async function createApp(
  config: Config,
  logger: Logger,
  metrics: Metrics = new Metrics(),
): Promise<App> {
  const rules = await readRules(config);
  const pages = await Pages.load(new URL("../static/", import.meta.url));
  const keys = await readKeys(config);
  for (const warning of keys?.warnings ?? []) logger.write("warn", warning);
  const nats = await readNatsCredentials(config);
  const log = await openLog(config.engine, { rules, maxChannels: config.maxChannels, logger, metrics, nats });
  const telemetry = await openTelemetry(metrics);
  return new RaindropsApp({ config, logger, rules, pages, log, keys, metrics, telemetry });
}

interface Parts {
  readonly config: Config;
  readonly logger: Logger;
  readonly rules: Rules;
  readonly pages: Pages;
  readonly log: Log;
  readonly keys: Keys | undefined;
  readonly metrics: Metrics;
  readonly telemetry: Telemetry | undefined;
}

class RaindropsApp implements App {
  readonly hub: Hub;
  readonly metrics: Metrics;
  readonly #lag: LoopLag;
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #rules: Rules;
  readonly #pages: Pages;
  readonly #log: Log;
  readonly #keys: Keys | undefined;
  readonly #cluster: Cluster | undefined;
  /** Everybody is let in, and everybody is on this machine. */
  readonly #openOnLoopback: boolean;
  readonly #apiKeys: ApiKeys;
  readonly #inspector: Inspector;
  readonly #access: Access;
  readonly #limits: Limits;
  readonly #connections: Connections;
  readonly #apiContext: ApiContext;
  readonly #protocolContext: ProtocolContext;
  readonly #centrifugeContext: CentrifugeContext;
  readonly #routes: Hono<Env>;
  readonly #drainingRoutes: Hono<Env>;

  constructor({ config, logger, rules, pages, log, keys, metrics, telemetry }: Parts) {
    this.#config = config;
    this.#logger = logger;
    this.#rules = rules;
    this.#pages = pages;
    this.#log = log;
    this.#keys = keys;
    this.metrics = metrics;
    this.#lag = new LoopLag(metrics.lag);
    const node = crypto.randomUUID();
    this.#cluster = log.bus === undefined ? undefined : new Cluster({ bus: log.bus, node, logger });
    this.hub = new Hub({
      log,
      rules,
      logger,
      metrics,
      maxMessageBytes: config.maxMessageBytes,
      identity: { node, name: config.nodeName, version: VERSION, startedAt: Date.now() },
      cluster: this.#cluster,
      maxChannelLength: config.maxChannelLength,
      tracePublish: telemetry?.tracePublish,
    });
    this.#protocolContext = {
      hub: this.hub,
      logger,
      outboxLimits: { messages: config.maxQueueMessages, bytes: config.maxQueueBytes },
      maxMessageBytes: config.maxMessageBytes,
      keepAlive: config.keepAlive,
    };
    const verifier = keys === undefined
      ? undefined
      : new TokenVerifier({ keys, audience: config.tokenAudience, issuer: config.tokenIssuer });
    // A server with token keys is not open, even where only this machine reaches it.
    const open = keys === undefined && (config.open || !isExposed(config));
    this.#openOnLoopback = open && !isExposed(config);
    // Once others reach it nobody is an operator without a key, however open the server is.
    const apiKeys = this.#apiKeys = new ApiKeys(config.apiKeys, { open: this.#openOnLoopback });
    for (const warning of [...apiKeys.warnings, ...describeOpenness(config, keys)]) {
      logger.write("warn", warning);
    }
    this.#access = new Access({ open, verifier, rules, logger, apiKeys });
    this.#limits = new Limits({
      connections: config.maxConnections,
      connectionsPerAddress: config.maxConnectionsPerAddress,
      publishRate: config.maxPublishRate,
      publishRatePerAddress: config.maxPublishRatePerAddress,
      publishBurst: config.publishBurst,
    });
    const proxies = { networks: config.trustedProxy, header: config.proxyHeader };
    this.#connections = new Connections({ limits: this.#limits, proxies, metrics, logger });
    this.#apiContext = {
      hub: this.hub,
      rules,
      keys: apiKeys,
      versions: new Versions(),
      cluster: this.#cluster,
      maxBodyBytes: config.maxBodyBytes,
      bodyTimeout: config.bodyTimeout,
      logger,
    };
    this.#centrifugeContext = {
      ...this.#protocolContext,
      rules,
      open,
      verifier,
      node,
      cluster: this.#cluster,
      sessions: new Map(),
      maxSubscriptions: config.maxSubscriptions,
      handshakeTimeout: config.handshakeTimeout,
      pingInterval: config.pingInterval,
      pongTimeout: config.pongTimeout,
    };
    if (this.#cluster !== undefined) {
      answerCommands(this.#apiContext, this.#cluster);
      answerEmulation(this.#centrifugeContext, this.#cluster);
    }
    this.#inspector = new Inspector({ hub: this.hub, log, keys: apiKeys, logger });
    this.#addGauges();
    telemetry?.reportMetrics();
    this.#routes = this.#createRoutes();
    this.#drainingRoutes = this.#createDrainingRoutes();
  }

  get connectionCount(): number {
    return this.#limits.connections;
  }

  async fetch(request: Request, direct: Peer): Promise<Response> {
    const peer = this.#connections.findPeer(request, direct);
    const origin = request.headers.get("origin");
    try {
      checkOrigin(request, {
        origins: this.#config.origins,
        openOnLoopback: this.#openOnLoopback,
      });
    } catch (error) {
      return this.#refuse(error, request, peer);
    }
    const routes = this.hub.draining ? this.#drainingRoutes : this.#routes;
    const response = await routes.fetch(request, { peer });
    return origin === null || response.status === 101 ? response : withCors(response, origin);
  }

  drain(): void {
    this.hub.drain();
    this.#inspector[Symbol.dispose]();
    // Sessions that have not connected are no clients of the hub yet.
    for (const session of [...this.#centrifugeContext.sessions.values()]) session.end(SHUTDOWN);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.drain();
    this.#lag[Symbol.dispose]();
    this.#keys?.[Symbol.dispose]();
    this.#cluster?.[Symbol.dispose]();
    await this.#log[Symbol.asyncDispose]();
  }

  /** What is answered while the server drains too. */
  #createWatchedRoutes(): Hono<Env> {
    const app = new Hono<Env>();
    app.onError((error, c) => this.#refuse(error, c.req.raw, c.env.peer));
    app.get("/healthz", () => handleHealth());
    app.get("/readyz", () => handleReady(this.hub, this.#log));
    app.get("/metrics", (c) => {
      demandKey(this.#apiKeys, c.req.raw, "/metrics");
      return handleMetrics(this.metrics);
    });
    return app;
  }

  /** Routes of their own, not a middleware before the others: hono calls a lone handler without composing any. */
  #createDrainingRoutes(): Hono<Env> {
    const app = this.#createWatchedRoutes();
    app.notFound(() => {
      throw new MessagingError("draining", "The server is restarting: try again in a moment");
    });
    return app;
  }

  #createRoutes(): Hono<Env> {
    const app = this.#createWatchedRoutes();
    const read = new ReadRoute({
      hub: this.hub,
      rules: this.#rules,
      access: this.#access,
      connections: this.#connections,
      pages: this.#pages,
      protocolContext: this.#protocolContext,
      maxSubscriptions: this.#config.maxSubscriptions,
    });
    app.options("*", () => new Response(null, { status: 204, headers: { allow: CHANNEL_METHODS } }));
    app.route(
      "/",
      createCentrifugeRoutes({
        context: this.#centrifugeContext,
        connections: this.#connections,
        body: this.#config,
      }),
    );
    app.get("/api/backup", (c) => {
      demandKey(this.#apiKeys, c.req.raw, "/api/backup");
      return handleBackup(c.req.raw, this.#log, this.#logger);
    });
    app.route("/_inspect", this.#inspector.routes);
    app.all("/api/*", (c) => handleApi(c.req.raw, this.#apiContext));
    app.get("*", (c) => read.fetch(c.req.raw, c.env.peer));
    app.on(
      ["POST", "PUT"],
      "*",
      (c) =>
        handlePublish(c.req.raw, {
          hub: this.hub,
          access: this.#access,
          limits: this.#limits,
          address: c.env.peer.address,
          maxBodyBytes: this.#config.maxBodyBytes,
          bodyTimeout: this.#config.bodyTimeout,
        }),
    );
    app.delete("*", (c) => handleClear(c.req.raw, this.hub, this.#access));
    // Not a route: hono calls a handler that is the only one for a request much faster than one of two.
    app.notFound((c) => {
      throw new MessagingError(
        "method_not_allowed",
        `${c.req.method} is not a thing here: use ${CHANNEL_METHODS}`,
      );
    });
    return app;
  }

  /** Numbers that are read when somebody asks. */
  #addGauges(): void {
    const { hub, metrics } = this;
    const gauge = (name: string, help: string, read: () => number) =>
      metrics.addGauge({ name, help, kind: "gauge", read });
    gauge("raindrops_channels", "Channels, lists and patterns that somebody reads", () => hub.groupCount);
    gauge(
      "raindrops_subscriptions",
      "Stays of clients on channels, lists and patterns",
      () => hub.subscriptionCount,
    );
    gauge(
      "raindrops_nodes",
      "Nodes that share the engine, as far as this one hears them",
      () => hub.nodes().length,
    );
    for (const processGauge of createProcessGauges(hub.identity)) metrics.addGauge(processGauge);
  }

  #refuse(error: unknown, request: Request, { address }: Peer): Response {
    const known = toMessagingError(error);
    this.metrics.refused(known.code, { what: describeRequest(request), message: known.message, address });
    if (known.code === "internal") {
      const cause = known.cause;
      this.#logger.write("error", "request failed", {
        reason: cause instanceof Error ? cause.stack : String(cause),
      });
    } else this.#logger.write("warn", "request refused", { code: known.code, reason: known.message });
    return createProblem(known);
  }
}

/** Method and path of a request; never its query, which may hold a token. */
function describeRequest(request: Request): string {
  try {
    return `${request.method} ${new URL(request.url).pathname}`;
  } catch {
    // What its Host header says is no host.
    return request.method;
  }
}
