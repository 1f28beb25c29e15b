/**
 * Drops WebSockets of the runtime whose peers do not answer the close frame. The runtime waits for the answer as long
 * as the peer stays, and has no public way to drop one WebSocket; what it does itself to a socket that answers no ping,
 * closing its resource, is done here through its internals. Where a later runtime has them no more, nothing is dropped.
 */

/** How long a peer may take to answer a close frame; as long as on the node listener. */
const ANSWER_MILLISECONDS = 5_000;

/** Closes a WebSocket, and drops it if its peer has read all that was sent and does not answer. */
export function closeSocket(webSocket: WebSocket, code: number, reason: string): void {
  webSocket.close(code, reason);
  const timer = setInterval(() => {
    if (webSocket.readyState === WebSocket.CLOSED) clearInterval(timer);
    else if (countQueued(webSocket) === 0) dropSocket(webSocket);
  }, ANSWER_MILLISECONDS);
  webSocket.addEventListener("close", () => clearInterval(timer));
}

function findSymbol(webSocket: WebSocket, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(webSocket).find((symbol) => symbol.description === description);
}

/**
 * Bytes that wait to be written. While some do, closing the resource would not end the connection, but it would no
 * longer be counted as one. The runtime tells the number only of open sockets: it is asked for a copy that is open.
 */
function countQueued(webSocket: WebSocket): number {
  const state = findSymbol(webSocket, "[[readyState]]");
  if (state === undefined) return Infinity;
  const open: WebSocket = Object.create(webSocket, { [state]: { value: WebSocket.OPEN } });
  try {
    return open.bufferedAmount;
  } catch {
    // A runtime that accepts no copies.
    return Infinity;
  }
}

/** Closes the resource of a socket. The number of a resource is never given to another one. */
function dropSocket(webSocket: WebSocket): void {
  const resource = findSymbol(webSocket, "[[rid]]");
  const { internal } = Deno as unknown as { internal?: symbol };
  if (resource === undefined || internal === undefined) return;
  const internals = Reflect.get(Deno, internal) as
    | { core?: { tryClose?(resource: number): void } }
    | undefined;
  internals?.core?.tryClose?.(Reflect.get(webSocket, resource));
}
