/** What event streams and line streams share: a client over a response body, kept alive and cleaned up after. */
import type { Client } from "../../core/client.ts";
import { Outbox } from "../../core/outbox.ts";
import type { Gap } from "../../core/replay.ts";
import { type Encoder, Frame } from "../../core/socket.ts";
import { StreamSocket } from "../../core/stream_socket.ts";
import { endAtExpiry, type ProtocolContext, type ReadRequest } from "../protocol.ts";

/** How one streaming protocol looks. */
export interface StreamFormat {
  readonly protocol: string;
  readonly contentType: string;
  readonly encoder: Encoder;
  /** The first chunk; `top` is the id behind which a stream without `since` begins. */
  encodeOpening(top: { readonly epoch: string; readonly sequence: number } | undefined): string;
  encodeGap(gap: Gap): string;
  /** Sent when nothing else is, so that nobody on the way takes the stream for dead. */
  readonly keepAlive: string;
}

const UTF8 = new TextEncoder();

/** A frame of bytes, as streams need them. */
export function createStreamFrame(text: string): Frame {
  return new Frame(UTF8.encode(text));
}

/** Headers of a stream: never stored, never held back by a proxy. */
export function streamHeaders(contentType: string): Record<string, string> {
  return { "content-type": contentType, "cache-control": "no-store", "x-accel-buffering": "no" };
}

/** Answers a request with a stream of the channels it asked for. */
export function openStream(format: StreamFormat, context: ProtocolContext, request: ReadRequest): Response {
  const { hub, outboxLimits, keepAlive } = context;
  const { id, choseId, connection, name, user, info, expires = 0, selector, since, limit } = request;
  const alive = createStreamFrame(format.keepAlive);
  const socket = new StreamSocket(() => leave(), () => connection.release());
  const client: Client = {
    id,
    choseId,
    address: connection.address,
    name,
    user,
    info,
    protocol: format.protocol,
    since: Date.now(),
    socket,
    outbox: new Outbox(socket, outboxLimits),
    encoder: format.encoder,
    echo: true,
    end(error) {
      hub.metrics.refused(error.code, {
        what: `${format.protocol} ${selector.key}`,
        message: error.message,
        client: id,
      });
      // A slow reader's queue is what it is cut off for; all others get theirs.
      if (error.code === "slow_subscriber") socket.terminate();
      else socket.close();
      leave(error.close);
    },
  };
  const timer = setInterval(() => client.outbox.offer([alive]), keepAlive * 1_000);
  const forgetExpiry = endAtExpiry(expires, client);
  function leave(code?: number): void {
    forgetExpiry();
    clearInterval(timer);
    hub.disconnect(client, code);
  }

  const response = new Response(socket.body, { headers: streamHeaders(format.contentType) });
  if (!hub.connect(client, selector.channel ?? selector.key)) return response;
  socket.send([createStreamFrame(format.encodeOpening(since === undefined ? hub.top : undefined))]);
  hub.subscribe(client, selector, {
    since,
    limit,
    onGap(gap) {
      socket.send([createStreamFrame(format.encodeGap(gap))]);
      return true;
    },
    onLimit() {
      socket.close();
      leave();
    },
  });
  return response;
}
