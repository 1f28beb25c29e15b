/** How a contender is talked to: what its readers and publishers ask for. Contenders say it, the generator does it. */

import { joinBytes } from "../bytes.ts";

/** Where something is asked for; `{channel}` stands for the channel's name in the path and in what is sent. */
export interface Endpoint {
  /** The topic, with MQTT. */
  readonly path: string;
  /** Of `MQTT` a connection subscribes at QoS 0 where `subscribes` says so, and publishes at QoS 0. */
  readonly kind: "WebSocket" | "stream" | "request" | "MQTT";
  readonly subscribes?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text frames to send behind the handshake, each with what its answer must contain. */
  readonly opening?: readonly { readonly send: string; readonly answer: string }[];
  /** What stands around a payload in a published frame. */
  readonly before?: string;
  readonly after?: string;
}

const UTF8 = new TextEncoder();

/** CONNECT of 3.1.1: a clean session, no keep-alive, and no client id, for which the server finds one. */
const MQTT_CONNECT = Uint8Array.fromHex("100c00044d5154540402" + "0000" + "0000");

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
  if (endpoint.kind === "MQTT") {
    const topic = insertChannel(endpoint.path, channel);
    return joinBytes([MQTT_CONNECT, ...endpoint.subscribes ? [encodeSubscribe(topic)] : []]);
  }
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

/** What answers the opening of an MQTT connection: CONNACK, and SUBACK of a reader. */
export function expectedMqttAnswer({ subscribes = false }: Endpoint): string {
  return subscribes ? "\x20\x02\0\0\x90\x03\0\x01\0" : "\x20\x02\0\0";
}

/** A message as a publisher sends it. */
export function encodePublication(
  endpoint: Endpoint,
  channel: string,
  payload: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  if (endpoint.kind === "MQTT") return encodeMqttPublish(insertChannel(endpoint.path, channel), payload);
  const { before = "", after = "" } = endpoint;
  return encodeClientFrame(joinBytes([UTF8.encode(before), payload, UTF8.encode(after)]));
}

/** PUBLISH at QoS 0 (MQTT 3.1.1 section 3.3). */
function encodeMqttPublish(topic: string, payload: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const text = encodeMqttText(topic);
  const length = text.byteLength + payload.byteLength;
  if (length >= 128 * 128) throw new RangeError("Packets are shorter than 16 KiB here");
  const head = length < 128 ? [0x30, length] : [0x30, length % 128 | 128, length >> 7];
  return joinBytes([Uint8Array.from(head), text, payload]);
}

/** SUBSCRIBE to one topic at QoS 0, with the packet id 1. */
function encodeSubscribe(topic: string): Uint8Array<ArrayBuffer> {
  const text = encodeMqttText(topic);
  return joinBytes([Uint8Array.of(0x82, text.byteLength + 3, 0, 1), text, Uint8Array.of(0)]);
}

function encodeMqttText(text: string): Uint8Array<ArrayBuffer> {
  const bytes = UTF8.encode(text);
  return joinBytes([Uint8Array.of(bytes.byteLength >> 8, bytes.byteLength & 255), bytes]);
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
