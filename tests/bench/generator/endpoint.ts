/** How a contender is talked to: what its readers and publishers ask for. Contenders say it, the generator does it. */

/** Where something is asked for; `{channel}` stands for the channel's name in the path and in what is sent. */
export interface Endpoint {
  readonly path: string;
  readonly kind: "WebSocket" | "stream" | "request";
  readonly headers?: Readonly<Record<string, string>>;
  /** Text frames to send behind the handshake, each with what its answer must contain. */
  readonly opening?: readonly { readonly send: string; readonly answer: string }[];
  /** What stands around a payload in a published frame. */
  readonly before?: string;
  readonly after?: string;
}

const UTF8 = new TextEncoder();

/** Any key will do: who answers is known. */
const KEY = "cmFpbmRyb3BzIGJlbmNoIQ==";
const WEB_SOCKET_HEADERS = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": KEY,
};

/** The request that opens an endpoint. */
export function encodeOpeningRequest(endpoint: Endpoint, channel: string): Uint8Array<ArrayBuffer> {
  const headers = endpoint.kind === "WebSocket"
    ? { ...WEB_SOCKET_HEADERS, ...endpoint.headers }
    : endpoint.headers;
  return UTF8.encode(formatHead("GET", endpoint, channel, headers));
}

/** A POST of a body. */
export function encodePost(
  endpoint: Endpoint,
  channel: string,
  body: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const headers = {
    "content-type": "text/plain",
    ...endpoint.headers,
    "content-length": String(body.byteLength),
  };
  const head = UTF8.encode(formatHead("POST", endpoint, channel, headers));
  const request = new Uint8Array(head.byteLength + body.byteLength);
  request.set(head);
  request.set(body, head.byteLength);
  return request;
}

function formatHead(
  method: string,
  endpoint: Endpoint,
  channel: string,
  headers: Readonly<Record<string, string>> = {},
): string {
  const lines = Object.entries({ host: "127.0.0.1", ...headers }).map(([name, value]) => `${name}: ${value}`);
  return `${method} ${insertChannel(endpoint.path, channel)} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
}

/** A text with the channel's name put in. */
export function insertChannel(text: string, channel: string): string {
  return text.replaceAll("{channel}", channel);
}

/**
 * A text frame as a client sends it (RFC 6455 section 5.2): masked, as it must be, with a mask of zeros, which
 * leaves the payload as it is.
 */
export function encodeClientFrame(payload: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const { byteLength } = payload;
  if (byteLength > 65_535) throw new RangeError("Payloads have at most 65,535 bytes here");
  const header = byteLength < 126 ? 2 : 4;
  const frame = new Uint8Array(header + 4 + byteLength);
  frame[0] = 0x81;
  if (byteLength < 126) frame[1] = 0x80 | byteLength;
  else {
    frame[1] = 0x80 | 126;
    frame[2] = byteLength >> 8;
    frame[3] = byteLength;
  }
  frame.set(payload, header + 4);
  return frame;
}
