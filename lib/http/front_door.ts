/** What every request passes before it is routed, and every answer on its way out. `app.ts` puts it before its routes. */
import type { MiddlewareHandler } from "hono";
import type { Gate } from "../auth/gate.ts";
import { checkOrigin, type OriginPolicy } from "../auth/origin.ts";
import type { Limits } from "../core/limits.ts";
import type { Peer } from "../core/socket.ts";
import type { Connections } from "./connections.ts";
import { withCors } from "./cors.ts";
import { asksForPage } from "./problem.ts";
import type { Refuse } from "./refuse.ts";

export interface FrontDoorOptions {
  readonly connections: Connections;
  readonly origins: OriginPolicy;
  readonly refuse: Refuse;
  /** Turns a problem into a page, for a person who navigated to it. */
  showProblem(request: Request, response: Response): Promise<Response>;
  route(request: Request, peer: Peer): Response | Promise<Response>;
}

/** Makes the function that answers requests; it never rejects. */
export function createFrontDoor(
  options: FrontDoorOptions,
): (request: Request, direct: Peer) => Promise<Response> {
  const { connections, origins, refuse } = options;
  return async (request, direct) => {
    const peer = connections.findPeer(request, direct);
    // Read now: a request that was upgraded has no headers any more.
    const origin = request.headers.get("origin");
    const isPage = asksForPage(request);
    const show = (response: Response) => isPage ? options.showProblem(request, response) : response;
    try {
      checkOrigin(request, origins);
    } catch (error) {
      return show(refuse(error, request, peer.address));
    }
    const response = await show(await options.route(request, peer));
    return origin === null || response.status === 101 ? response : withCors(response, origin);
  };
}

/** Counts requests against the publish rate of their address, before anything is parsed, but for operators with a key. */
export function limitStrangers(
  gate: Gate,
  limits: Limits,
): MiddlewareHandler<{ Bindings: { readonly peer: Peer } }> {
  return (c, next) => {
    if (!gate.carriesKey(c.req.raw)) limits.countPublish(c.env.peer.address, undefined);
    return next();
  };
}
