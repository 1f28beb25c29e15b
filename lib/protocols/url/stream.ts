/** What event streams and line streams share: a client over a response body, kept alive and cleaned up after. */
import { formatSelector } from "../../core/channel.ts";
import { type Client, createClient } from "../../core/client.ts";
import { Outbox } from "../../core/outbox.ts";
import type { Gap } from "../../core/replay.ts";
import type { Encoder } from "../../core/socket.ts";
import { createStreamFrame, streamHeaders } from "../../http/stream.ts";
import { StreamSocket } from "../../core/stream_socket.ts";
import { type Services, watchExpiry } from "../protocol.ts";
import type { SessionRequest } from "./session.ts";

/** How one streaming protocol looks. */
export interface StreamFormat {
  readonly protocol: string;
  readonly contentType: string;
  readonly encoder: Encoder;
  /** The first chunk; `top` is the id behind which a stream without `since` begins. */
  encodeOpening(top: { readonly epoch: string; readonly sequence: number } | undefined): string;
  encodeGap(gap: Gap): string;
  /** Sent on an idle stream, so that no proxy on the way takes it for dead. */
  readonly keepAlive: string;
}

/** Answers a request with a stream of the channels it asked for. */
export function openStream(format: StreamFormat, services: Services, request: SessionRequest): Response {
  const { hub, outboxLimits, settings: { keepAlive } } = services;
  const { id, choseId, connection, name, pass, selector, since, limit } = request;
  const alive = createStreamFrame(format.keepAlive);
  const socket = new StreamSocket(() => leave(), () => connection.release());
  const client: Client = createClient({
    id,
    choseId,
    connection,
    name,
    user: pass.user,
    info: pass.info,
    labels: pass.labels,
    protocol: format.protocol,
    socket,
    outbox: new Outbox(socket, outboxLimits),
    encoder: format.encoder,
    echo: true,
    hearsRemovals: true,
    end(error) {
      hub.metrics.refused(error.code, {
        what: `${format.protocol} ${formatSelector(selector)}`,
        message: error.message,
        client: id,
      });
      // A full queue disconnects this slow subscriber; all others still get the message.
      if (error.code === "slow_subscriber") socket.terminate();
      else socket.close();
      leave(error.close);
    },
  });
  const timer = setInterval(() => client.outbox.offer([alive]), keepAlive * 1_000);
  const forgetExpiry = watchExpiry(services, pass, client);
  function leave(code?: number): void {
    forgetExpiry();
    clearInterval(timer);
    hub.disconnect(client, code);
  }

  const response = new Response(socket.body, { headers: streamHeaders(format.contentType) });
  if (!hub.connect(client, formatSelector(selector))) return response;
  // From the id on that it begins with, nothing is missed: another thread stores messages between these two lines.
  hub.watch(selector)();
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
