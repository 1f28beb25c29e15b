/**
 * The Pusher protocol: the WebSocket protocol 7 at `/app/{key}` and the HTTP API below `/apps/{id}`. Switched on by an app
 * (`--pusher-apps`, `RAINDROPS_PUSHER_APP`); until then both say so.
 */
import { Hono } from "hono";
import { MessagingError } from "../../core/errors.ts";
import type { Env, Protocol, Services } from "../protocol.ts";
import { type App, Apps, parseApps } from "./apps.ts";
import type { PusherContext, PusherSettings } from "./context.ts";
import { createApiRoutes } from "./http_api.ts";
import { Rooms } from "./rooms.ts";
import { openSession } from "./session.ts";
import { WebhookSink } from "./webhooks.ts";

export { PUSHER_SETTINGS as SETTINGS } from "./settings.ts";

/**
 * Opens the protocol, and has the gate keep the private channels of its apps private at every door.
 *
 * @throws {SyntaxError} for a file of apps that cannot be read or does not parse
 */
export async function open(services: Services<PusherSettings>): Promise<Protocol> {
  const list = await readApps(services.settings);
  if (list.length === 0) {
    return {
      routes: createClosedRoutes(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  const apps = new Apps(list);
  services.gate.protect((channel) => apps.isPrivate(channel));
  const webhooks = new WebhookSink(services.logger);
  const rooms = new Rooms(services.hub, webhooks);
  const context: PusherContext = { ...services, apps, rooms, webhooks, sessions: new Set() };
  const routes = new Hono<Env>();
  routes.get("/app/:key", ({ env, req }) => {
    const { searchParams } = new URL(req.url);
    const app = apps.findByKey(req.param("key"));
    return services.connections.upgrade(
      env.peer,
      (connection) => openSession(context, app, searchParams.get("protocol"), connection),
    );
  });
  routes.route("/", createApiRoutes(context));
  return { routes, [Symbol.asyncDispose]: () => webhooks[Symbol.asyncDispose]() };
}

async function readApps({ pusherApps, pusherApp }: PusherSettings): Promise<readonly App[]> {
  const single = pusherApp === undefined ? [] : [pusherApp];
  if (pusherApps === undefined) return single;
  let text: string;
  try {
    text = await Deno.readTextFile(pusherApps);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotCapable
      ? `start with deno run --allow-read=${pusherApps} and the other flags of the start task`
      : cause instanceof Error
      ? cause.message
      : cause;
    throw new SyntaxError(`Cannot read ${pusherApps} of --pusher-apps: ${reason}`, { cause });
  }
  try {
    return [...parseApps(text), ...single];
  } catch (error) {
    // No cause: it could hold a secret.
    throw new SyntaxError(
      `The file ${pusherApps} of --pusher-apps: ${error instanceof Error ? error.message : error}`,
    );
  }
}

/** Without an app the paths say how to get one. */
function createClosedRoutes(): Hono<Env> {
  const routes = new Hono<Env>();
  const refuse = () => {
    throw new MessagingError(
      "not_found",
      "No Pusher app is set up here: set RAINDROPS_PUSHER_APP=id:key:secret, or --pusher-apps",
    );
  };
  routes.all("/app/*", refuse);
  routes.all("/apps/*", refuse);
  return routes;
}
