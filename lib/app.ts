/**
 * The composition root: puts log, hub, protocols and pages together behind one `fetch`. Listeners call it with
 * each request; `server.ts` and tests create it.
 */
import { type Context, Hono } from "hono";
import { ApiKeys } from "./auth/api_keys.ts";
import { type Keys, type KeySource, openKeys } from "./auth/keys.ts";
import { checkOrigin } from "./auth/origin.ts";
import { TokenVerifier } from "./auth/tokens.ts";
import { type Config, isExposed } from "./config.ts";
import { Cluster } from "./core/cluster.ts";
import { parseSelectorPath, RESERVED_SEGMENTS, type Selector } from "./core/channel.ts";
import { MessagingError, toMessagingError } from "./core/errors.ts";
import { Hub } from "./core/hub.ts";
import { type Connection, describeSubscriptionLimit, Limits } from "./core/limits.ts";
import type { Log } from "./core/log.ts";
import type { Logger } from "./core/logger.ts";
import { LoopLag } from "./core/loop_lag.ts";
import { Metrics } from "./core/metrics.ts";
import { type Action, describePresenceOff, parseRules, Rules } from "./core/rules.ts";
import type { Peer } from "./core/socket.ts";
import { Access, demandKey, type Pass } from "./http/access.ts";
import { answerCommands, type ApiContext, handleApi, Versions } from "./http/api.ts";
import { handleBackup } from "./http/backup.ts";
import { Connections } from "./http/connections.ts";
import { handleHealth, handleReady } from "./http/health.ts";
import { handleClear, handleHistory, handlePresence } from "./http/history.ts";
import { checkIdentity } from "./http/identity.ts";
import { Inspector } from "./http/inspect.ts";
import { handleMetrics } from "./http/metrics.ts";
import { Pages } from "./http/pages.ts";
import { CHANNEL_METHODS, createProblem, parseOr } from "./http/problem.ts";
import { createProcessGauges } from "./http/process_gauges.ts";
import { readBytes } from "./http/body.ts";
import { handlePublish } from "./http/publish.ts";
import { parseReadRequest } from "./http/read_request.ts";
import { type NatsCredentials, openLog } from "./logs/mod.ts";
import { openTelemetry, type Telemetry } from "./telemetry.ts";
import {
  answerEmulation,
  type CentrifugeContext,
  chooseWebSocket,
  emulate,
  EVENT_STREAM_TYPE,
  NDJSON_TYPE,
  openCentrifugeSocket,
  openEventSession,
  openEventStream,
  openLineSession,
  openLineStream,
  openOneWayEvents,
  openOneWayLines,
  openOneWaySocket,
  openPlainSession,
  type ProtocolContext,
  streamHeaders,
  type StreamRequest,
} from "./protocols/mod.ts";
import { readSettingFile } from "./setting_file.ts";

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

/** What the API says of the program. */
const VERSION = "raindrops";

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
  const rules = config.rules === undefined ? new Rules() : await readRules(config.rules);
  const pages = await Pages.load(new URL("../static/", import.meta.url));
  const keys = await readKeys(config);
  for (const warning of keys?.warnings ?? []) logger.write("warn", warning);
  const nats = await readNatsCredentials(config);
  const log = await openLog(config.log, { rules, maxChannels: config.maxChannels, logger, metrics, nats });
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
    const proxies = { networks: config.trustedProxies, header: config.proxyHeader };
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
    app.options("*", () => new Response(null, { status: 204, headers: { allow: CHANNEL_METHODS } }));
    this.#addCentrifuge(app);
    app.get("/api/backup", (c) => {
      demandKey(this.#apiKeys, c.req.raw, "/api/backup");
      return handleBackup(c.req.raw, this.#log, this.#logger);
    });
    app.route("/_inspect", this.#inspector.routes);
    app.all("/api/*", (c) => handleApi(c.req.raw, this.#apiContext));
    app.get("*", (c) => this.#get(c));
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
      "Nodes that share the log, as far as this one hears them",
      () => hub.nodes().length,
    );
    for (const processGauge of createProcessGauges(hub.identity.startedAt)) metrics.addGauge(processGauge);
  }

  /** The Centrifuge protocol at the paths its clients know. */
  #addCentrifuge(app: Hono<Env>): void {
    const context = this.#centrifugeContext;
    app.get("/connection/websocket", (c) => {
      const { format, subprotocol } = chooseWebSocket(c.req.raw);
      const open = (connection: Connection) => openCentrifugeSocket(context, format, connection);
      return this.#connections.upgrade(c.env.peer, open, subprotocol === undefined ? {} : { subprotocol });
    });
    app.get(
      "/connection/uni_websocket",
      ({ env, req }) =>
        this.#connections.upgrade(env.peer, (connection) => openOneWaySocket(context, req.raw, connection)),
    );
    const withBody = (open: (request: StreamRequest) => Response) => async ({ env, req }: Context<Env>) => {
      // Routed here as a GET: nobody would read the session that it opens, nor end it.
      if (req.raw.method === "HEAD") {
        throw new MessagingError("method_not_allowed", "A session is opened by GET or POST, not by HEAD");
      }
      const body = await readBytes(req.raw, this.#config);
      return this.#connections.openStream(
        env.peer,
        (connection) => open({ context, request: req.raw, body, connection }),
      );
    };
    app.post("/connection/http_stream", withBody(openLineSession));
    app.on(["GET", "POST"], "/connection/sse", withBody(openEventSession));
    app.post("/connection/uni_http_stream", withBody(openOneWayLines));
    app.on(["GET", "POST"], "/connection/uni_sse", withBody(openOneWayEvents));
    app.post(
      "/emulation",
      async ({ req }) => emulate(context, req.raw, await readBytes(req.raw, this.#config)),
    );
  }

  /** What a GET gets, by upgrade, query and Accept. */
  async #get(c: Context<Env>): Promise<Response> {
    const request = c.req.raw;
    const { pathname } = new URL(request.url);
    const upgrades = request.headers.get("upgrade")?.toLowerCase() === "websocket";
    if (!upgrades && this.#pages.owns(pathname)) return await this.#pages.fetch(request);
    if (isReserved(pathname)) throw new MessagingError("not_found", `Nothing lives at ${pathname} yet`);

    const accept = request.headers.get("accept") ?? "*/*";
    if (!upgrades && wantsPage(request, accept)) {
      parseOr("bad_channel", () => parseSelectorPath(pathname));
      return await this.#pages.fetch(request);
    }
    const options = parseReadRequest(request, Date.now());
    const streams = upgrades || options.follow || accept.includes(EVENT_STREAM_TYPE);
    const pass = await this.#access.admit(request);
    if (options.presence) {
      pass.demand("presence", options.selector);
      return handlePresence(this.hub, this.#rules, options);
    }
    if (streams) pass.demand("subscribe", options.selector);
    if (!streams || options.since !== undefined) pass.demand("history", options.selector);
    const { peer } = c.env;
    const { searchParams } = new URL(request.url);
    const identity = { id: searchParams.has("id") ? options.id : undefined, name: options.name };
    const choseId = checkIdentity(identity, pass, this.hub, peer.address);
    if (streams) this.#checkSelector(options.selector);
    const { user, info, expires } = pass;
    const reader = {
      ...options,
      choseId,
      user,
      info,
      expires,
      deny: this.#createDenier(pass, options.selector),
    };
    const context = this.#protocolContext;
    if (upgrades) {
      return this.#connections.upgrade(
        peer,
        (connection) => openPlainSession(context, { ...reader, connection }),
      );
    }
    if (streams) {
      const [type, open] = options.follow
        ? [NDJSON_TYPE, openLineStream] as const
        : [EVENT_STREAM_TYPE, openEventStream] as const;
      // A HEAD is answered with the headers of the stream, which is not opened for it.
      if (request.method === "HEAD") return new Response(null, { headers: streamHeaders(type) });
      return this.#connections.openStream(peer, (connection) => open(context, { ...reader, connection }));
    }
    return await handleHistory(this.hub, options);
  }

  /** A function of its own: idle connections keep what it closes over, which is to be little. */
  #createDenier(pass: Pass, selector: Selector): (action: Action) => MessagingError | undefined {
    return (action) => this.#deny(pass, action, selector);
  }

  #deny(pass: Pass, action: Action, selector: Selector): MessagingError | undefined {
    const { channel } = selector;
    if (channel !== undefined && action === "presence" && !this.#rules.for(channel).presence) {
      return new MessagingError(
        "not_found",
        describePresenceOff(channel),
      );
    }
    return pass.deny(action, selector);
  }

  /** Lists count as many subscriptions as they have names and patterns. */
  #checkSelector({ channel, patterns }: Selector): void {
    const { maxSubscriptions } = this.#config;
    if (patterns.length > maxSubscriptions) throw describeSubscriptionLimit(maxSubscriptions);
    if (channel !== undefined) this.hub.checkName(channel);
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

/** The keys tokens are signed with, or undefined while there are none and everybody is let in. */
async function readKeys({ tokenSecret, tokenKey, tokenJwks }: Config): Promise<Keys | undefined> {
  const sources: KeySource[] = [];
  if (tokenSecret !== undefined) sources.push({ kind: "secret", secret: tokenSecret });
  if (tokenKey !== undefined) {
    sources.push({ kind: "pem", text: await readSettingFile("--token-key", tokenKey) });
  }
  if (tokenJwks !== undefined) {
    sources.push(
      /^https?:/.test(tokenJwks)
        ? { kind: "jwks_url", url: tokenJwks }
        : { kind: "jwks", text: await readSettingFile("--token-jwks", tokenJwks) },
    );
  }
  return sources.length === 0 ? undefined : openKeys(sources);
}

async function readNatsCredentials(config: Config): Promise<NatsCredentials> {
  const { natsUser: user, natsPassword: password, natsToken: token, natsCreds, natsCa } = config;
  const creds = natsCreds === undefined ? undefined : await readSettingFile("--nats-creds", natsCreds);
  const ca = natsCa === undefined ? undefined : await readSettingFile("--nats-ca", natsCa);
  return { user, password, token, creds, ca };
}

/** What an operator should hear at start of a server that is more open, or less, than asked for. */
function describeOpenness(config: Config, keys: Keys | undefined): readonly string[] {
  const { open, host } = config;
  if (!open) return [];
  if (keys !== undefined) return ["--open does nothing where there is a token key: tokens and rules decide"];
  if (!isExposed(config)) return [];
  return [`Everybody who reaches ${host} may read and publish everything, as --open says`];
}

async function readRules(path: string): Promise<Rules> {
  const text = await readSettingFile("--rules", path);
  try {
    return new Rules(parseRules(text));
  } catch (cause) {
    throw new SyntaxError(`Rules file ${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** Browsers get the page of a channel, unless they ask for data; on `/` everybody does who does not care. */
function wantsPage(request: Request, accept: string): boolean {
  const { pathname, searchParams } = new URL(request.url);
  const asksForData = accept.includes(EVENT_STREAM_TYPE) ||
    ["follow", "presence"].some((name) => searchParams.has(name));
  if (accept.includes("text/html")) return !asksForData;
  const readsHistory = ["since", "limit"].some((name) => searchParams.has(name));
  return pathname === "/" && accept.includes("*/*") && !asksForData && !readsHistory;
}

/** Whether a path is the server's own rather than a channel or a list of them. */
function isReserved(pathname: string): boolean {
  const first = pathname.slice(1).split("/")[0] ?? "";
  return first.startsWith("_") || RESERVED_SEGMENTS.has(first);
}

/** Lets the page of an allowed origin read the answer. Nothing is ever granted by cookie, so none are allowed. */
function withCors(response: Response, origin: string): Response {
  const headers = new Headers(response.headers);
  headers.set("access-control-allow-origin", origin);
  headers.append("vary", "origin");
  // Clients may send their cookies along, which nobody here looks at.
  headers.set("access-control-allow-credentials", "true");
  headers.set("access-control-allow-methods", CHANNEL_METHODS);
  headers.set("access-control-expose-headers", "allow, retry-after, www-authenticate");
  headers.set("access-control-allow-headers", "authorization, content-type, idempotency-key, last-event-id");
  headers.set("access-control-max-age", "600");
  return new Response(response.body, { status: response.status, headers });
}
