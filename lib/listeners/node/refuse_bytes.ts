/** Answers bytes that `node:http` could not read as a request, by a problem document. The node listener uses it. */
import type { Duplex } from "node:stream";
import type { ErrorCode } from "../../core/errors.ts";
import { hangUp } from "./hang_up.ts";

interface Refusal {
  readonly status: string;
  readonly type: ErrorCode;
  readonly detail: string;
}

const TOO_LARGE: Refusal = {
  status: "431 Request Header Fields Too Large",
  type: "headers_too_large",
  detail: "The request line and headers are larger than 16 KiB together: send less, cookies among them",
};
const TOO_SLOW: Refusal = {
  status: "408 Request Timeout",
  type: "body_timeout",
  detail: "The request did not arrive in time: send it faster, or raise --header-timeout or --body-timeout",
};
const MALFORMED: Refusal = {
  status: "400 Bad Request",
  type: "bad_request",
  detail: "These bytes are no request of HTTP/1.1",
};

/** What clients such as curl send for a path that was typed as it is; the parser of `node:http` takes none of it. */
const NOT_ENCODED: Refusal = {
  status: "400 Bad Request",
  type: "bad_request",
  detail: "The path is not percent-encoded: send it as encodeURI() writes it, as browsers do",
};
const LATIN1 = new TextDecoder("latin1");
const RAW_TARGET = /^[A-Z]+ [^ \r\n]*[^\0-\x7f]/;

const BY_CODE: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: TOO_LARGE,
  ERR_HTTP_REQUEST_TIMEOUT: TOO_SLOW,
};

/**
 * Answers a connection whose bytes are no request, and ends it.
 *
 * @returns why, as it was answered; undefined if there was nobody to answer
 */
export function refuseBytes(error: Error, connection: Duplex): Refusal | undefined {
  const code = "code" in error ? String(error.code) : "";
  // An answer that has begun cannot be followed by another one.
  const hasAnswered = "_httpMessage" in connection && connection._httpMessage !== null &&
    (connection._httpMessage as { headersSent?: boolean } | undefined)?.headersSent === true;
  if (!connection.writable || code === "ECONNRESET" || hasAnswered) {
    connection.destroy();
    return undefined;
  }
  const refusal = BY_CODE[code] ?? (hasRawTarget(error) ? NOT_ENCODED : MALFORMED);
  const { status, type, detail } = refusal;
  const [, number = "", title = ""] = /^(\d+) (.*)$/.exec(status) ?? [];
  const problem = { type: `urn:raindrops:${type}`, title, status: Number(number), detail };
  const body = JSON.stringify(problem) + "\n";
  connection.write(
    `HTTP/1.1 ${status}\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n` +
      `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  );
  hangUp(connection);
  return refusal;
}

/** Whether the bytes that were no request have a path with bytes beyond ASCII. */
function hasRawTarget(error: Error): boolean {
  const bytes = "rawPacket" in error ? error.rawPacket : undefined;
  return bytes instanceof Uint8Array && RAW_TARGET.test(LATIN1.decode(bytes.subarray(0, 2_048)));
}
