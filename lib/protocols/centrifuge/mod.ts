/** The Centrifuge protocol at the paths its clients know, `/connection/...` and `/emulation`. */
import { type Context, Hono } from "hono";
import { MessagingError } from "../../core/errors.ts";
import type { Connection } from "../../core/limits.ts";
import { readBytes } from "../../http/body.ts";
import type { Env, Protocol, Services } from "../protocol.ts";
import { findMaxEmulationBytes, findMaxFrameBytes } from "./frame_size.ts";
import type { CentrifugeContext, CentrifugeSettings } from "./context.ts";
import { isPersonal } from "./personal.ts";
import {
  answerEmulation,
  chooseWebSocket,
  describeCaller,
  emulate,
  openCentrifugeSocket,
  openEventSession,
  openLineSession,
  openUniEvents,
  openUniLines,
  openUniSocket,
  type StreamRequest,
} from "./transports.ts";

export { CENTRIFUGE_SETTINGS as SETTINGS } from "./settings.ts";

/** Opens the protocol, which is always on. */
export function open(services: Services<CentrifugeSettings>): Protocol {
  const context: CentrifugeContext = { ...services, sessions: new Map() };
  services.gate.protect((channel) => isPersonal(channel, services.rules));
  if (services.cluster !== undefined) answerEmulation(context, services.cluster);
  return {
    routes: createRoutes(context),
    drain() {
      // Sessions that have not connected are no clients of the hub yet.
      for (const session of [...context.sessions.values()]) {
        session.end(new MessagingError("draining", "service restart"));
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function createRoutes(context: CentrifugeContext): Hono<Env> {
  const routes = new Hono<Env>();
  const { connections, limits: rates, settings: limits } = context;
  routes.get("/connection/websocket", (c) => {
    const { format, subprotocol } = chooseWebSocket(c.req.raw);
    const caller = describeCaller(context, c.req.raw);
    const open = (connection: Connection) => openCentrifugeSocket(context, format, connection, caller);
    return connections.upgrade(c.env.peer, open, subprotocol === undefined ? {} : { subprotocol });
  });
  routes.get(
    "/connection/uni_websocket",
    ({ env, req }) =>
      connections.upgrade(env.peer, (connection) => openUniSocket(context, req.raw, connection)),
  );
  const withBody = (open: (request: StreamRequest) => Response) => async ({ env, req }: Context<Env>) => {
    // Routed here as a GET: nobody would read the session that it opens, nor end it.
    if (req.raw.method === "HEAD") {
      throw new MessagingError("method_not_allowed", "A session is opened by GET or POST, not by HEAD");
    }
    rates.countPublish(env.peer.address, undefined);
    const maxBodyBytes = Math.min(limits.maxBodyBytes, findMaxFrameBytes(limits.maxMessageBytes));
    const body = await readBytes(req.raw, { ...limits, maxBodyBytes });
    return connections.openStream(
      env.peer,
      (connection) => open({ context, request: req.raw, body, connection }),
    );
  };
  routes.post("/connection/http_stream", withBody(openLineSession));
  routes.on(["GET", "POST"], "/connection/sse", withBody(openEventSession));
  routes.post("/connection/uni_http_stream", withBody(openUniLines));
  routes.on(["GET", "POST"], "/connection/uni_sse", withBody(openUniEvents));
  routes.post(
    "/emulation",
    async ({ env, req }) => {
      rates.countPublish(env.peer.address, undefined);
      const maxBodyBytes = Math.min(limits.maxBodyBytes, findMaxEmulationBytes(limits.maxMessageBytes));
      return emulate(context, req.raw, await readBytes(req.raw, { ...limits, maxBodyBytes }));
    },
  );
  return routes;
}
