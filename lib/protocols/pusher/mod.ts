/**
 * The Pusher protocol: the WebSocket protocol 7 at `/app/{key}` and the HTTP API below `/apps/{id}`. Switched on by an
 * app (`--pusher-apps`, `RAINDROPS_PUSHER_APP`); until then both say so.
 */
import { Hono, type MiddlewareHandler } from "hono";
import { MessagingError } from "../../core/errors.ts";
import type { Env, Protocol, Services } from "../protocol.ts";
import { type App, Apps, parseApps } from "./apps.ts";
import type { PusherContext, PusherSettings } from "./context.ts";
import { createApiRoutes } from "./http_api.ts";
import { type ConnectionRefusal, NO_APPS, NO_SUCH_PATH, RefusedSession } from "./refused.ts";
import { Rooms } from "./rooms.ts";
import { openSession } from "./session.ts";
import { PusherWebhooks } from "./webhooks.ts";

export { PUSHER_SETTINGS as SETTINGS } from "./settings.ts";

/**
 * Opens the protocol, and has the gate keep the private channels of its apps private at every door.
 *
 * @throws {SyntaxError} for a file of apps that cannot be read or does not parse
 */
export async function open(services: Services<PusherSettings>): Promise<Protocol> {
  const list = await readApps(services);
  if (list.length === 0) {
    return {
      routes: createClosedRoutes(services),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  const apps = new Apps(list);
  services.gate.protect((channel) => apps.isPrivate(channel));
  const webhooks = new PusherWebhooks(services, apps);
  const rooms = new Rooms(services.hub);
  const context: PusherContext = { ...services, apps, rooms, webhooks, sessions: new Set() };
  const routes = new Hono<Env>();
  routes.get("/app/:key", ({ env, req }) => {
    const { searchParams } = new URL(req.url);
    const app = apps.findByKey(req.param("key"));
    const caller = services.gate.describeCaller(req.raw, "pusher");
    return services.connections.upgrade(
      env.peer,
      (connection) => openSession(context, app, searchParams.get("protocol"), { connection, caller }),
    );
  });
  for (const path of ["/app/*", "/apps/*"]) routes.get(path, refuseSockets(services, NO_SUCH_PATH));
  routes.all("/app/*", () => {
    throw new MessagingError("not_found", "Pusher's clients connect to /app/KEY, by WebSocket");
  });
  routes.route("/", createApiRoutes(context));
  return { routes, webhooks: webhooks.list, [Symbol.asyncDispose]: () => webhooks[Symbol.asyncDispose]() };
}

async function readApps({ settings, readSettingFile }: Services<PusherSettings>): Promise<readonly App[]> {
  const { pusherApps: path, pusherApp } = settings;
  const single = pusherApp === undefined ? [] : [pusherApp];
  if (path === undefined) return single;
  const text = await readSettingFile("--pusher-apps", path);
  try {
    return [...parseApps(text), ...single];
  } catch (error) {
    // No cause: it could hold a secret.
    throw new SyntaxError(`Pusher apps file ${path}: ${error instanceof Error ? error.message : error}`);
  }
}

/** Tells WebSockets at a path that is none of theirs not to come back; other requests go on. */
function refuseSockets(
  { hub, connections }: Services<PusherSettings>,
  refusal: ConnectionRefusal,
): MiddlewareHandler<Env> {
  return ({ env, req }, next) => {
    if (req.header("upgrade")?.toLowerCase() !== "websocket") return next();
    const response = connections.upgrade(
      env.peer,
      ({ address }) => new RefusedSession(hub, refusal, address),
    );
    return Promise.resolve(response);
  };
}

/** Without an app the paths say how to get one. */
function createClosedRoutes(services: Services<PusherSettings>): Hono<Env> {
  const routes = new Hono<Env>();
  for (const path of ["/app/*", "/apps/*"]) routes.get(path, refuseSockets(services, NO_APPS));
  const refuse = () => {
    throw new MessagingError("not_found", NO_APPS.reason);
  };
  routes.all("/app/*", refuse);
  routes.all("/apps/*", refuse);
  return routes;
}
