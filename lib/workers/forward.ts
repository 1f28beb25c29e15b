/**
 * Requests that concern the process as a whole are answered by the main thread: the operator's API, the inspector, metrics,
 * health and push subscriptions. A worker hands them over with their bodies, and hands the answers back, streams included.
 */
import { getPath } from "hono/utils/url";
import { MessagingError } from "../core/errors.ts";
import type { Peer } from "../core/socket.ts";
import { isEndless, markEndless } from "../core/stream_socket.ts";
import type { App } from "../app.ts";
import type { StreamLink } from "./stream_link.ts";
import type { ForwardedAnswer, ForwardedRequest } from "./wire.ts";

/** The paths that `app.ts` mounts beside protocols and pages. */
const OF_PROCESS = /^\/(?:healthz|readyz|metrics|_push|api\/.+|_inspect\/[^/]+)$/;

/** The methods that these paths are asked with. What else a client sends would become another one, or no request at all. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]);

/**
 * Whether the main thread answers a request. The app of the worker refuses what no request can be made of there, and names
 * of the server's own at which nothing is.
 *
 * @param mounted the paths of the worker's app, which has the same routes
 */
export function isOfProcess(request: Pick<Request, "method" | "url">, mounted: ReadonlySet<string>): boolean {
  const { method, url } = request;
  // Most requests are for channels and end here: finding each path would cost more.
  const first = url[url.indexOf("/", url.indexOf("//") + 2) + 1];
  if (first === undefined || !"hrma_%".includes(first)) return false;
  // The path as the routes see it: letters may be escaped.
  const path = getPath(request as Request);
  const isKnown = path.startsWith("/api/") || mounted.has(path);
  return isKnown && OF_PROCESS.test(path) && METHODS.has(method) && URL.canParse(url);
}

/** The worker's side: hands requests over and waits for their answers. */
export class Forwarder {
  readonly #send: (id: number, request: ForwardedRequest) => void;
  readonly #streams: StreamLink;
  readonly #waiting = new Map<number, (answer: ForwardedAnswer) => void>();
  #id = 0;

  constructor(streams: StreamLink, send: (id: number, request: ForwardedRequest) => void) {
    this.#streams = streams;
    this.#send = send;
  }

  async forward(request: Request, { address }: Peer): Promise<Response> {
    const id = this.#id += 2;
    const { method, url, body } = request;
    const answered = new Promise<ForwardedAnswer>((resolve) => this.#waiting.set(id, resolve));
    if (body !== null) this.#streams.offer(id, body);
    this.#send(id, { method, url, headers: [...request.headers], hasBody: body !== null, address });
    const { status, headers, ...answer } = await answered;
    const stream = answer.hasBody ? this.#streams.open(id + 1) : null;
    if (stream !== null && answer.isEndless) markEndless(stream);
    return new Response(stream, {
      status,
      headers: headers.map(([name, value]) => [name, value]),
    });
  }

  settle(id: number, answer: ForwardedAnswer): void {
    this.#waiting.get(id)?.(answer);
    this.#waiting.delete(id);
  }
}

/** The main thread's side: answers a request of a worker. */
export async function answerForwarded(
  app: App,
  streams: StreamLink,
  id: number,
  { method, url, headers, hasBody, address }: ForwardedRequest,
): Promise<ForwardedAnswer> {
  const body = hasBody ? streams.open(id) : null;
  const request = new Request(url, {
    method,
    headers: headers.map(([name, value]): [string, string] => [name, value]),
    ...(body === null ? {} : { body }),
  });
  const response = await app.fetch(request, {
    address,
    upgrade() {
      throw new MessagingError("bad_handshake", "There is no WebSocket here");
    },
  });
  // What is left of the request is of no use any more. Where it took too long, somebody still waits for it.
  streams.abandon(id);
  const { status, body: stream } = response;
  if (stream !== null) streams.offer(id + 1, stream);
  return {
    status,
    headers: [...response.headers],
    hasBody: stream !== null,
    isEndless: stream !== null && isEndless(stream),
  };
}
