/**
 * What the Centrifuge protocol is carried by: WebSockets, streaming responses with commands beside them, and their
 * unidirectional variants. Each gives a session a socket and the frames that arrive.
 */
import { decodeFormText } from "../../base/form.ts";
import type { Caller } from "../../auth/callouts.ts";
import type { Cluster } from "../../core/cluster/cluster.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Connection } from "../../core/limits.ts";
import type { Socket, SocketHandler } from "../../core/socket.ts";
import { cutReason } from "../../core/errors.ts";
import { StreamSocket } from "../../core/stream_socket.ts";
import type { ConnectRequest, EmulationRequest, End } from "./codec.ts";
import type { CentrifugeContext } from "./context.ts";
import {
  type CentrifugeFormat,
  JSON_EVENTS_FORMAT,
  JSON_FORMAT,
  JSON_LINES_FORMAT,
  PROTOBUF_FORMAT,
  UNI_JSON_EVENTS_FORMAT,
  UNI_JSON_FORMAT,
  UNI_JSON_LINES_FORMAT,
  UNI_PROTOBUF_FORMAT,
} from "./encoders.ts";
import { checkFrameSize } from "./frame_size.ts";
import { JSON_CODEC } from "./json.ts";
import { PROTOBUF_CODEC } from "./protobuf.ts";
import { CentrifugeSession } from "./session.ts";
import { parseOr } from "../../http/problem.ts";
import { createStreamFrame, streamHeaders } from "../../http/stream.ts";

/** Subprotocols by which a WebSocket says how it writes. */
const SUBPROTOCOLS: ReadonlyMap<string, CentrifugeFormat> = new Map([
  ["centrifuge-json", JSON_FORMAT],
  ["centrifuge-protobuf", PROTOBUF_FORMAT],
]);

/**
 * Opens an event stream before there is an event. Centrifugo has "\r\n", which version 2 of the npm package eventsource
 * takes amiss when events follow in the same chunk: it never hands them over.
 */
const OPENING = createStreamFrame("\n");

/** A request whose answer is a session's stream, its body read. */
export interface StreamRequest {
  readonly context: CentrifugeContext;
  readonly request: Request;
  readonly body: Uint8Array;
  readonly connection: Connection;
}

/** How a WebSocket's frames are written, and the subprotocol to answer the handshake with. */
export interface WebSocketChoice {
  readonly format: CentrifugeFormat;
  readonly subprotocol: string | undefined;
}

/** Chooses by the subprotocols a handshake offers, else by its query. */
export function chooseWebSocket(request: Request): WebSocketChoice {
  const offered = (request.headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());
  const subprotocol = offered.find((name) => SUBPROTOCOLS.has(name));
  if (subprotocol !== undefined) return { format: SUBPROTOCOLS.get(subprotocol) ?? JSON_FORMAT, subprotocol };
  return { format: asksForProtobuf(request) ? PROTOBUF_FORMAT : JSON_FORMAT, subprotocol: undefined };
}

/** A session over a WebSocket at `/connection/websocket`. */
export function openCentrifugeSocket(
  context: CentrifugeContext,
  format: CentrifugeFormat,
  connection: Connection,
  caller: Caller | undefined,
): SocketHandler {
  let session: CentrifugeSession | undefined;
  return {
    open: (socket) => session = openSession(context, format, connection, socket, caller),
    message: (data) => session?.receive(data),
    close: (code) => session?.closed(code),
  };
}

/**
 * A unidirectional session over a WebSocket at `/connection/uni_websocket`. The connect request is in the query, or is
 * the first frame.
 */
export function openUniSocket(
  context: CentrifugeContext,
  request: Request,
  connection: Connection,
): SocketHandler {
  const format = asksForProtobuf(request) ? UNI_PROTOBUF_FORMAT : UNI_JSON_FORMAT;
  const query = readConnectQuery(request);
  const caller = describeCaller(context, request);
  let session: CentrifugeSession | undefined;
  let connected = query !== undefined;
  return {
    open(socket) {
      session = openSession(context, format, connection, socket, caller);
      if (query !== undefined) connectUni(session, query);
    },
    message(data) {
      // A unidirectional transport ignores everything after the request.
      if (session === undefined || connected) return;
      connected = true;
      connectUni(session, data);
    },
    close: (code) => session?.closed(code),
  };
}

/** A session over a response of lines, at `/connection/http_stream`; the body holds its first commands. */
export function openLineSession(stream: StreamRequest): Response {
  const { request, body } = stream;
  const isProtobuf = /octet-stream|protobuf/i.test(request.headers.get("content-type") ?? "") ||
    asksForProtobuf(request);
  const format = isProtobuf ? PROTOBUF_FORMAT : JSON_LINES_FORMAT;
  const type = isProtobuf ? "application/octet-stream" : "application/json";
  const { session, socket } = openStreamSession(stream, format, "centrifuge-http_stream");
  session.receive(body);
  return new Response(socket.body, { headers: streamHeaders(type) });
}

/** A session over server-sent events, at `/connection/sse`; its first commands are in the query or the body. */
export function openEventSession(stream: StreamRequest): Response {
  const { request, body } = stream;
  const { session, socket } = openStreamSession(stream, JSON_EVENTS_FORMAT, "centrifuge-sse");
  socket.send([OPENING]);
  session.receive(request.method === "GET" ? readConnectQuery(request) ?? "" : body);
  return new Response(socket.body, { headers: streamHeaders("text/event-stream") });
}

/** A unidirectional session over lines, at `/connection/uni_http_stream`. */
export function openUniLines(stream: StreamRequest): Response {
  const { body } = stream;
  const { session, socket } = openStreamSession(
    stream,
    UNI_JSON_LINES_FORMAT,
    "centrifuge-uni_http_stream",
  );
  connectUni(session, body);
  return new Response(socket.body, { headers: streamHeaders("application/json") });
}

/** A unidirectional session over server-sent events, at `/connection/uni_sse`. */
export function openUniEvents(stream: StreamRequest): Response {
  const { request, body } = stream;
  const { session, socket } = openStreamSession(stream, UNI_JSON_EVENTS_FORMAT, "centrifuge-uni_sse");
  socket.send([OPENING]);
  connectUni(session, request.method === "GET" ? readConnectQuery(request) ?? "{}" : body);
  return new Response(socket.body, { headers: streamHeaders("text/event-stream") });
}

/** The call by which a node hands on commands of a session that another one has. */
const EMULATE = "centrifuge.emulate";

/** Takes further commands of a streaming session, from `POST /emulation`, for whatever node has it. */
export async function emulate(
  context: CentrifugeContext,
  request: Request,
  body: Uint8Array,
): Promise<Response> {
  const isProtobuf = /octet-stream|protobuf/i.test(request.headers.get("content-type") ?? "");
  let emulation;
  try {
    emulation = (isProtobuf ? PROTOBUF_CODEC : JSON_CODEC).decodeEmulation(body);
  } catch (cause) {
    throw new MessagingError("bad_body", "The body must hold session, node and data", { cause });
  }
  // Its stream stays: it is this request alone that is refused.
  checkFrameSize(emulation.data, context.settings.maxMessageBytes);
  const { node } = emulation;
  const isFound = node === context.hub.identity.node
    ? receive(context, emulation)
    : await forward(context, emulation);
  if (!isFound) throw new MessagingError("not_found", "There is no such session: connect again");
  return new Response(null, { status: 204 });
}

/** Takes the commands that other nodes hand on. */
export function answerEmulation(context: CentrifugeContext, cluster: Cluster): void {
  cluster.handle(EMULATE, (body) => {
    const { session, text, base64 } = body as { session: string; text?: string; base64?: string };
    return receive(context, { session, data: text ?? Uint8Array.fromBase64(base64 ?? "") });
  });
}

function receive({ sessions }: CentrifugeContext, emulation: Omit<EmulationRequest, "node">): boolean {
  const session = sessions.get(emulation.session);
  session?.receive(emulation.data);
  return session !== undefined;
}

async function forward({ cluster }: CentrifugeContext, emulation: EmulationRequest): Promise<boolean> {
  const { node, session, data } = emulation;
  if (cluster?.isAlive(node) !== true) {
    throw new MessagingError("not_found", "That session is of a node that is not there: connect again");
  }
  const content = typeof data === "string" ? { text: data } : { base64: data.toBase64() };
  try {
    const outcome = await cluster.call(node, EMULATE, { session, ...content });
    return outcome.kind === "answered" && outcome.body === true;
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new MessagingError("too_large", "The commands are too large to be handed to the session's node", {
      cause,
    });
  }
}

function openSession(
  context: CentrifugeContext,
  format: CentrifugeFormat,
  connection: Connection,
  socket: Socket,
  caller: Caller | undefined,
): CentrifugeSession {
  return new CentrifugeSession(context, format, {
    protocol: `${format.unidirectional ? "centrifuge-uni" : "centrifuge"}-${format.codec.name}`,
    connection,
    socket,
    caller,
    emulated: false,
    hangUp({ code, reason }, isSlow) {
      socket.close(code, cutReason(reason));
      if (isSlow) socket.terminate();
    },
    // The close frame stands behind what is queued, and only a terminated socket is rid of both.
    discard: () => {},
  });
}

function openStreamSession(
  { context, request, connection }: StreamRequest,
  format: CentrifugeFormat,
  protocol: string,
) {
  const socket: StreamSocket = new StreamSocket(() => session.closed(1000), () => connection.release());
  const session: CentrifugeSession = new CentrifugeSession(context, format, {
    protocol,
    connection,
    socket,
    caller: describeCaller(context, request),
    emulated: !format.unidirectional,
    hangUp(end: End) {
      socket.send([format.encodeReplies([{ kind: "push", push: { kind: "disconnect", content: end } }])]);
      socket.close();
    },
    discard: () => socket.discard(),
  });
  return { session, socket };
}

function connectUni(session: CentrifugeSession, frame: string | Uint8Array): void {
  let request: ConnectRequest;
  try {
    checkFrameSize(frame, session.context.settings.maxMessageBytes);
    request = session.format.codec.decodeUniRequest(frame);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return session.end(error instanceof MessagingError ? error : new MessagingError("bad_frame", reason));
  }
  session.connect(request);
}

function readConnectQuery(request: Request): string | undefined {
  const { search, searchParams } = new URL(request.url);
  parseOr("bad_option", () => decodeFormText(search));
  return searchParams.get("cf_connect") ?? undefined;
}

function asksForProtobuf(request: Request): boolean {
  const query = new URL(request.url).searchParams;
  return query.get("format") === "protobuf" || query.get("cf_protocol") === "protobuf";
}

/** Who sends a request, its transport by its path: `websocket` for `/connection/websocket`. */
export function describeCaller({ gate }: CentrifugeContext, request: Request): Caller | undefined {
  return gate.describeCaller(request, new URL(request.url).pathname.split("/").at(-1));
}
