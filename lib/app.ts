/**
 * The composition root: puts log, hub, protocols and pages together behind one `fetch`. Listeners call it with
 * each request; `server.ts` and tests create it.
 */
import { type Context, Hono } from "hono";
import { ApiKeys } from "./auth/api_keys.ts";
import { type Keys, type KeySource, openKeys } from "./auth/keys.ts";
import { checkOrigin, isLoopback } from "./auth/origin.ts";
import { TokenVerifier } from "./auth/tokens.ts";
import type { Config } from "./config.ts";
import { Cluster } from "./core/cluster.ts";
import { parseSelectorPath, RESERVED_SEGMENTS } from "./core/channel.ts";
import { MessagingError, toMessagingError } from "./core/errors.ts";
import { Hub } from "./core/hub.ts";
import type { Log } from "./core/log.ts";
import type { Logger } from "./core/logger.ts";
import { LoopLag } from "./core/loop_lag.ts";
import { Metrics } from "./core/metrics.ts";
import { type Action, describePresenceOff, parseRules, Rules } from "./core/rules.ts";
import type { Peer } from "./core/socket.ts";
import { Access, type Pass } from "./http/access.ts";
import { answerCommands, type ApiContext, handleApi, Versions } from "./http/api.ts";
import { handleBackup } from "./http/backup.ts";
import { handleClear, handleHistory, handlePresence } from "./http/history.ts";
import { Pages } from "./http/pages.ts";
import { CHANNEL_METHODS, createProblem, parseOr } from "./http/problem.ts";
import { readBytes } from "./http/body.ts";
import { handlePublish } from "./http/publish.ts";
import { parseReadRequest, type ReadOptions } from "./http/read_request.ts";
import { openLog } from "./logs/mod.ts";
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
} from "./protocols/mod.ts";
import { readSettingFile } from "./setting_file.ts";

/** A running Raindrops without a port: hand it requests. Disposing it closes the log. */
export interface App extends AsyncDisposable {
  readonly hub: Hub;
  /** What it counts of itself. */
  readonly metrics: Metrics;
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
export async function createApp(config: Config, logger: Logger): Promise<App> {
  const rules = config.rules === undefined ? new Rules() : await readRules(config.rules);
  const pages = await Pages.load(new URL("../static/", import.meta.url));
  const keys = await readKeys(config);
  for (const warning of keys?.warnings ?? []) logger.write("warn", warning);
  const metrics = new Metrics();
  const log = await openLog(config.log, { rules, logger, metrics });
  return new RaindropsApp({ config, logger, rules, pages, log, keys, metrics });
}

interface Parts {
  readonly config: Config;
  readonly logger: Logger;
  readonly rules: Rules;
  readonly pages: Pages;
  readonly log: Log;
  readonly keys: Keys | undefined;
  readonly metrics: Metrics;
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
  readonly #access: Access;
  readonly #apiContext: ApiContext;
  readonly #protocolContext: ProtocolContext;
  readonly #centrifugeContext: CentrifugeContext;
  readonly #routes: Hono<Env>;

  constructor({ config, logger, rules, pages, log, keys, metrics }: Parts) {
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
    // A server with token keys is not open, even where only a proxy reaches it.
    const apiKeys = new ApiKeys(config.apiKeys, { open: isLoopback(config.host) && keys === undefined });
    for (const warning of apiKeys.warnings) logger.write("warn", warning);
    const isOperator = (request: Request) => apiKeys.isCarriedBy(request.headers);
    this.#access = new Access({ verifier, rules, logger, isOperator });
    this.#apiContext = {
      hub: this.hub,
      rules,
      keys: apiKeys,
      versions: new Versions(),
      cluster: this.#cluster,
      maxBodyBytes: config.maxBodyBytes,
      logger,
    };
    this.#centrifugeContext = {
      ...this.#protocolContext,
      rules,
      verifier,
      node,
      cluster: this.#cluster,
      sessions: new Map(),
      pingInterval: config.pingInterval,
      pongTimeout: config.pongTimeout,
    };
    if (this.#cluster !== undefined) {
      answerCommands(this.#apiContext, this.#cluster);
      answerEmulation(this.#centrifugeContext, this.#cluster);
    }
    this.#routes = this.#createRoutes();
  }

  async fetch(request: Request, peer: Peer): Promise<Response> {
    const origin = request.headers.get("origin");
    try {
      checkOrigin(request, {
        origins: this.#config.origins,
        openOnLoopback: isLoopback(this.#config.host) && this.#keys === undefined,
      });
    } catch (error) {
      return this.#refuse(error, request, peer);
    }
    const response = await this.#routes.fetch(request, { peer });
    return origin === null || response.status === 101 ? response : withCors(response, origin);
  }

  drain(): void {
    this.hub.drain();
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

  #createRoutes(): Hono<Env> {
    const app = new Hono<Env>();
    app.onError((error, c) => this.#refuse(error, c.req.raw, c.env.peer));
    app.use(async (_, next) => {
      if (this.hub.draining) {
        throw new MessagingError("draining", "The server is restarting: try again in a moment");
      }
      await next();
    });
    app.options("*", () => new Response(null, { status: 204, headers: { allow: CHANNEL_METHODS } }));
    this.#addCentrifuge(app);
    app.get("/api/backup", (c) => {
      const { keys, logger } = this.#apiContext;
      return handleBackup(c.req.raw, { log: this.#log, keys, logger });
    });
    app.all("/api/*", (c) => handleApi(c.req.raw, this.#apiContext));
    app.get("*", (c) => this.#get(c));
    app.on(
      ["POST", "PUT"],
      "*",
      (c) =>
        handlePublish(c.req.raw, {
          hub: this.hub,
          access: this.#access,
          maxBodyBytes: this.#config.maxBodyBytes,
        }),
    );
    app.delete("*", (c) => handleClear(c.req.raw, this.hub, this.#access));
    app.all("*", (c) => {
      throw new MessagingError(
        "method_not_allowed",
        `${c.req.method} is not a thing here: use ${CHANNEL_METHODS}`,
      );
    });
    return app;
  }

  /** The Centrifuge protocol at the paths its clients know. */
  #addCentrifuge(app: Hono<Env>): void {
    const context = this.#centrifugeContext;
    app.get("/connection/websocket", (c) => {
      const { format, subprotocol } = chooseWebSocket(c.req.raw);
      const handler = openCentrifugeSocket(context, format);
      return c.env.peer.upgrade(handler, subprotocol === undefined ? {} : { subprotocol });
    });
    app.get("/connection/uni_websocket", (c) => c.env.peer.upgrade(openOneWaySocket(context, c.req.raw)));
    const withBody = (
      open: (context: CentrifugeContext, request: Request, body: Uint8Array) => Response | Promise<Response>,
    ) =>
    async (c: Context<Env>) =>
      open(context, c.req.raw, await readBytes(c.req.raw, this.#config.maxBodyBytes));
    app.post("/connection/http_stream", withBody(openLineSession));
    app.on(["GET", "POST"], "/connection/sse", withBody(openEventSession));
    app.post("/connection/uni_http_stream", withBody(openOneWayLines));
    app.on(["GET", "POST"], "/connection/uni_sse", withBody(openOneWayEvents));
    app.post("/emulation", withBody(emulate));
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
    const { searchParams } = new URL(request.url);
    if (!pass.isTrusted && (searchParams.has("id") || searchParams.has("name"))) {
      throw new MessagingError("forbidden", "Ids and names come from tokens here: leave out id and name");
    }
    const { user, info, expires } = pass;
    const reader = {
      ...options,
      user,
      info,
      expires,
      deny: (action: Action) => this.#deny(pass, action, options),
    };
    const context = this.#protocolContext;
    if (upgrades) return c.env.peer.upgrade(openPlainSession(context, reader));
    if (options.follow) return this.#stream(request, NDJSON_TYPE, () => openLineStream(context, reader));
    if (streams) return this.#stream(request, EVENT_STREAM_TYPE, () => openEventStream(context, reader));
    return await handleHistory(this.hub, options);
  }

  #deny(pass: Pass, action: Action, { selector }: ReadOptions): MessagingError | undefined {
    const { channel } = selector;
    if (channel !== undefined && action === "presence" && !this.#rules.for(channel).presence) {
      return new MessagingError(
        "not_found",
        describePresenceOff(channel),
      );
    }
    return pass.deny(action, selector);
  }

  /** A HEAD is answered with the headers of the stream, which is not opened for it. */
  #stream(request: Request, type: string, open: () => Response): Response {
    return request.method === "HEAD" ? new Response(null, { headers: streamHeaders(type) }) : open();
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
