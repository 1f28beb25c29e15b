/** The Centrifuge protocol at the paths its clients know, `/connection/...` and `/emulation`. Used by `app.ts`. */
import { type Context, Hono } from "hono";
import { MessagingError } from "../../core/errors.ts";
import type { Connection } from "../../core/limits.ts";
import type { Peer } from "../../core/socket.ts";
import { type BodyLimits, readBytes } from "../../http/body.ts";
import type { Connections } from "../../http/connections.ts";
import {
  type CentrifugeContext,
  chooseWebSocket,
  emulate,
  openCentrifugeSocket,
  openEventSession,
  openLineSession,
  openOneWayEvents,
  openOneWayLines,
  openOneWaySocket,
  type StreamRequest,
} from "../mod.ts";

type Env = { Bindings: { readonly peer: Peer } };

export interface CentrifugeOptions {
  readonly context: CentrifugeContext;
  readonly connections: Connections;
  readonly body: BodyLimits;
}

/** Routes to be mounted at `/`. */
export function createCentrifugeRoutes(options: CentrifugeOptions): Hono<Env> {
  const routes = new Hono<Env>();
  const { context, connections, body: limits } = options;
  routes.get("/connection/websocket", (c) => {
    const { format, subprotocol } = chooseWebSocket(c.req.raw);
    const open = (connection: Connection) => openCentrifugeSocket(context, format, connection);
    return connections.upgrade(c.env.peer, open, subprotocol === undefined ? {} : { subprotocol });
  });
  routes.get(
    "/connection/uni_websocket",
    ({ env, req }) =>
      connections.upgrade(env.peer, (connection) => openOneWaySocket(context, req.raw, connection)),
  );
  const withBody = (open: (request: StreamRequest) => Response) => async ({ env, req }: Context<Env>) => {
    // Routed here as a GET: nobody would read the session that it opens, nor end it.
    if (req.raw.method === "HEAD") {
      throw new MessagingError("method_not_allowed", "A session is opened by GET or POST, not by HEAD");
    }
    const body = await readBytes(req.raw, limits);
    return connections.openStream(
      env.peer,
      (connection) => open({ context, request: req.raw, body, connection }),
    );
  };
  routes.post("/connection/http_stream", withBody(openLineSession));
  routes.on(["GET", "POST"], "/connection/sse", withBody(openEventSession));
  routes.post("/connection/uni_http_stream", withBody(openOneWayLines));
  routes.on(["GET", "POST"], "/connection/uni_sse", withBody(openOneWayEvents));
  routes.post(
    "/emulation",
    async ({ req }) => emulate(context, req.raw, await readBytes(req.raw, limits)),
  );
  return routes;
}
