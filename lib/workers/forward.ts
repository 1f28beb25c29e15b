/**
 * Requests that concern the process as a whole are answered by the main thread: the operator's API, the inspector, metrics,
 * health and push subscriptions. A worker hands them over with their bodies, and hands the answers back, streams included.
 */
import { MessagingError } from "../core/errors.ts";
import type { Peer } from "../core/socket.ts";
import type { App } from "../app.ts";
import type { StreamLink } from "./stream_link.ts";
import type { ForwardedAnswer, ForwardedRequest } from "./wire.ts";

/** The paths that `app.ts` mounts beside protocols and pages. */
const OF_PROCESS = /^\/(?:healthz|readyz|metrics|_push|api\/.+|_inspect\/[^/]+)$/;

/** Whether the main thread answers a request. */
export function isOfProcess(url: string): boolean {
  // Most requests are for channels and end here: parsing each URL would cost more.
  const start = url.indexOf("/", url.indexOf("//") + 2);
  if (start === -1 || !/^\/(?:h|r|m|a|_)/.test(url.slice(start, start + 2))) return false;
  const end = url.slice(start).search(/[?#]/);
  return OF_PROCESS.test(end === -1 ? url.slice(start) : url.slice(start, start + end));
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
    const { status, headers, hasBody } = await answered;
    return new Response(hasBody ? this.#streams.open(id + 1) : null, {
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
  // What nobody read of the request is of no use any more.
  if (request.body !== null && !request.bodyUsed) await request.body.cancel();
  if (response.body !== null) streams.offer(id + 1, response.body);
  return { status: response.status, headers: [...response.headers], hasBody: response.body !== null };
}
