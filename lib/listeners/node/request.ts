/** Requests of `node:http` as the Fetch standard's: the node listener hands them to the app. */
import type { IncomingMessage } from "node:http";
import type { Socket as TcpSocket } from "node:net";
import { MessagingError } from "../../core/errors.ts";

/**
 * Builds the Request of what arrived. Its body is read from the connection as fast as somebody reads it here.
 *
 * @throws {TypeError} when the Host header or the target make no URL, or the method is none of the Fetch standard
 */
export function createRequest(incoming: IncomingMessage, scheme: "http" | "https"): Request {
  const { method = "GET", rawHeaders } = incoming;
  if (incoming.httpVersion === "1.1" && incoming.headers.host === undefined) {
    throw new TypeError("A request of HTTP/1.1 needs a Host header");
  }
  const headers: [string, string][] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) headers.push([rawHeaders[i]!, rawHeaders[i + 1]!]);
  const init = { method, headers };
  const url = findUrl(incoming, scheme);
  return method === "GET" || method === "HEAD"
    ? new Request(url, init)
    : new Request(url, { ...init, body: openBody(incoming) });
}

function findUrl({ url = "/", headers: { host = "localhost" } }: IncomingMessage, scheme: string): string {
  if (url.startsWith("/")) return `${scheme}://${host}${url}`;
  // The target may be a whole URL, as for a proxy, or `*` (RFC 9112 section 3.2).
  return /^https?:\/\//i.test(url) ? url : `${scheme}://${host}/${url}`;
}

/** A stream that asks for more only when it is read, and fails when the client goes away in the middle. */
function openBody(incoming: IncomingMessage): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      incoming.on("data", (chunk: Uint8Array<ArrayBuffer>) => {
        controller.enqueue(chunk);
        if ((controller.desiredSize ?? 0) <= 0) incoming.pause();
      });
      let ended = false;
      incoming.on("end", () => {
        ended = true;
        controller.close();
      });
      incoming.on("close", () => {
        if (!ended) controller.error(new Error("The client went away"));
      });
      incoming.pause();
    },
    pull() {
      incoming.resume();
    },
    cancel() {
      incoming.removeAllListeners("data").removeAllListeners("end").removeAllListeners("close");
      incoming.resume();
    },
  }, { highWaterMark: 0 });
}

/** IP address of the other end; a version 4 address also where it came mapped into version 6. */
export function findAddress(connection: TcpSocket): string {
  return (connection.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "");
}

/** The response to a request that cannot be turned into a Request. */
export function createBadRequest(cause: unknown): Response {
  const { title, status, message: detail } = new MessagingError(
    "bad_host",
    "The Host header and the request target do not form a URL, or the method is forbidden",
    { cause },
  );
  const headers = {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  };
  const body = { type: "urn:raindrops:bad_host", title, status, detail };
  return new Response(JSON.stringify(body) + "\n", { status, headers });
}
