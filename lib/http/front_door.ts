/**
 * What every request passes before it is routed, and every answer on its way out. `app.ts` puts it before its routes.
 */
import type { MiddlewareHandler } from "hono";
import type { Gate } from "../auth/gate.ts";
import { checkOrigin, type OriginPolicy } from "../auth/origin.ts";
import { MessagingError } from "../core/errors.ts";
import type { Limits } from "../core/limits.ts";
import type { Peer } from "../core/socket.ts";
import type { Connections } from "./connections.ts";
import { withCors, withCorsFields } from "./cors.ts";
import { asksForPage } from "./problem.ts";
import type { Refuse } from "./refuse.ts";

export interface FrontDoorOptions {
  readonly connections: Connections;
  readonly origins: OriginPolicy;
  readonly refuse: Refuse;
  /** Turns a problem into a page, for a person who navigated to it. */
  showProblem(request: Request, response: Response): Promise<Response>;
  /** Answers what needs no routing; undefined for the rest. May throw. */
  direct(request: Request, peer: Peer): Promise<Response> | undefined;
  /** Answers the rest, errors too. */
  route(request: Request, peer: Peer): Response | Promise<Response>;
}

/** Makes the function that answers requests; it never rejects. */
export function createFrontDoor(
  options: FrontDoorOptions,
): (request: Request, direct: Peer) => Promise<Response> {
  const { connections, origins, refuse } = options;
  const answer = async (request: Request, peer: Peer) => {
    try {
      return await (options.direct(request, peer) ?? options.route(request, peer));
    } catch (error) {
      return refuse(error, request, peer.address);
    }
  };
  const show = async (response: Response, request: Request, isPage: boolean) =>
    isPage ? await options.showProblem(request, response) : response;
  const answerBrowser = async (request: Request, found: Peer, origin: string | null, isPage: boolean) => {
    if (origin === null) return show(await answer(request, found), request, isPage);
    let created: Response | undefined;
    const peer = {
      ...found,
      createResponse(text: string, fields: Readonly<Record<string, string>>) {
        const headers = withCorsFields(fields, origin);
        return created = found.createResponse?.(text, headers) ?? new Response(text, { headers });
      },
    };
    const response = await show(await answer(request, peer), request, isPage);
    return response === created || response.status === 101 ? response : withCors(response, origin);
  };
  return (request, direct) => {
    const peer = connections.findPeer(request, direct);
    // Read now: a request that was upgraded has no headers any more.
    const origin = request.headers.get("origin");
    const isPage = asksForPage(request);
    try {
      checkUpgrade(request);
      checkOrigin(request, origins, origin);
    } catch (error) {
      return show(refuse(error, request, peer.address), request, isPage);
    }
    // What programs send goes straight through: each promise between costs as much as parsing a name.
    return origin === null && !isPage ? answer(request, peer) : answerBrowser(request, peer, origin, isPage);
  };
}

/**
 * Refuses a handshake of a WebSocket that asks for no WebSocket, which would be answered as a plain GET. Proxies make
 * such of good ones, as Upgrade is for one hop only (RFC 9110 section 7.8).
 *
 * @throws {MessagingError} `bad_handshake`
 */
function checkUpgrade({ method, headers }: Request): void {
  if (method !== "GET" || headers.get("sec-websocket-key") === null) return;
  if (headers.get("upgrade")?.toLowerCase() === "websocket") return;
  throw new MessagingError(
    "bad_handshake",
    'A WebSocket handshake needs "Upgrade: websocket": a proxy in between has to pass it on',
  );
}

/**
 * Counts requests against the publish rate of their address, before anything is parsed, but for operators with a key.
 */
export function limitStrangers(
  gate: Gate,
  limits: Limits,
): MiddlewareHandler<{ Bindings: { readonly peer: Peer } }> {
  return (c, next) => {
    if (!gate.carriesKey(c.req.raw)) limits.countPublish(c.env.peer.address, undefined);
    return next();
  };
}
