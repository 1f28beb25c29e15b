/** Writes a Response of the Fetch standard to `node:http`, as fast as the client reads it. */
import { IncomingMessage, ServerResponse } from "node:http";
import type { Socket as TcpSocket } from "node:net";
import { nextSlice } from "../../base/slices.ts";
import { isEndless } from "../../core/stream_socket.ts";

/** How long a client that has closed its side must have got nothing before it counts as gone. */
const LEAVING_MILLISECONDS = 100;
/** How much is sent before others are served. */
const UNRESTED_BYTES = 64 * 1024;

/** Makes what writes the response to a request that `node:http` has not read, or has let go of. */
export function createOutgoing(
  method: string,
  connection: TcpSocket,
  shouldKeepAlive: boolean,
): ServerResponse {
  const incoming = new IncomingMessage(connection);
  Object.assign(incoming, { method, httpVersionMajor: 1, httpVersionMinor: 1, httpVersion: "1.1" });
  const outgoing = new ServerResponse(incoming);
  outgoing.on("error", () => {});
  outgoing.shouldKeepAlive = shouldKeepAlive;
  outgoing.assignSocket(connection);
  if (connection.destroyed) outgoing.destroy();
  return outgoing;
}

type Chunk = ReadableStreamReadResult<Uint8Array<ArrayBuffer>>;

/**
 * Sends a response. A body that is available at once is sent with its length, any other in chunks. Cancels the body if
 * the client disconnects, and drops the client if it reads nothing for too long.
 *
 * @param stallMilliseconds how long a client may read nothing while data is queued
 */
export async function sendResponse(
  response: Response,
  outgoing: ServerResponse,
  stallMilliseconds: number,
): Promise<void> {
  const { status, body } = response;
  const headers = [...response.headers].flat();
  if (outgoing.destroyed) return await body?.cancel();
  if (body === null || outgoing.req.method === "HEAD") {
    await body?.cancel();
    outgoing.writeHead(status, headers).end();
    return;
  }
  const reader = body.getReader();
  outgoing.on("close", () => void reader.cancel().catch(() => {}));
  const first = reader.read();
  const early = await nowOrNever(first);
  const second = early === undefined || early.done ? undefined : reader.read();
  if (outgoing.destroyed) return;
  if (early !== undefined && (early.done || (await nowOrNever(second!))?.done)) {
    const bytes = early.value ?? new Uint8Array();
    if (!response.headers.has("content-length")) headers.push("content-length", `${bytes.byteLength}`);
    outgoing.writeHead(status, headers).end(bytes);
  } else {
    outgoing.writeHead(status, headers).flushHeaders();
    // Whatever has an end may take its time: it waits for its turn, or for the engine.
    const stopWatching = isEndless(body) ? watchEnd(outgoing) : undefined;
    await sendChunks(reader, [first, second], outgoing, stallMilliseconds);
    stopWatching?.();
    outgoing.end();
  }
  await untilOr(outgoing, "finish", stallMilliseconds);
}

/**
 * Ends the answer of a client that has closed its side and for which there is nothing more to send: a stream without an
 * end, whose client has left. An answer that is still on its way goes on.
 */
function watchEnd(outgoing: ServerResponse): () => void {
  const connection = outgoing.socket;
  if (connection === null) return () => {};
  let timer: ReturnType<typeof setInterval> | undefined;
  let written = -1;
  let isWaiting = false;
  const look = () => {
    // A replay may wait for its slice, behind those that came before it.
    if (isWaiting) return;
    if (connection.bytesWritten === written && connection.writableLength === 0) {
      return void outgoing.destroy();
    }
    written = connection.bytesWritten;
    isWaiting = true;
    void nextSlice().then(() => isWaiting = false);
  };
  const onEnd = () => timer = setInterval(look, LEAVING_MILLISECONDS);
  const stop = () => {
    clearInterval(timer);
    connection.off("end", onEnd);
    outgoing.off("close", stop);
  };
  if (connection.readableEnded) onEnd();
  else connection.once("end", onEnd);
  outgoing.once("close", stop);
  return stop;
}

async function sendChunks(
  reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>,
  started: (Promise<Chunk> | undefined)[],
  outgoing: ServerResponse,
  stallMilliseconds: number,
): Promise<void> {
  let unrested = 0;
  while (true) {
    const { done, value } = await (started.shift() ?? reader.read());
    if (done || outgoing.destroyed) return;
    if (!outgoing.write(value)) await untilOr(outgoing, "drain", stallMilliseconds);
    unrested += value.byteLength;
    if (unrested < UNRESTED_BYTES) continue;
    // A client that reads as fast as it is sent makes this wait for nothing: others are served meanwhile.
    await nextSlice();
    unrested = 0;
  }
}

/** The value of a promise that resolves within this turn; undefined otherwise. */
async function nowOrNever<T>(promise: Promise<T>): Promise<T | undefined> {
  return await Promise.race([promise, nextTurn()]);
}

function nextTurn(): Promise<undefined> {
  return new Promise((resolve) => setImmediate(() => resolve(undefined)));
}

/** Resolves at an event or the end of the connection. Ends the connection if the event takes too long. */
function untilOr(outgoing: ServerResponse, event: "drain" | "finish", milliseconds: number): Promise<void> {
  if (outgoing.destroyed || (event === "finish" && outgoing.writableFinished)) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => outgoing.destroy(), milliseconds);
    const settle = () => {
      clearTimeout(timer);
      outgoing.off(event, settle).off("close", settle);
      resolve();
    };
    outgoing.on(event, settle).on("close", settle);
  });
}
