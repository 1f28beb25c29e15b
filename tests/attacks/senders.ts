/** Sends what `worst.ts` holds, several times at once. */
import { createFrame, RawSocket } from "../raw_socket.ts";
import type { ServerProcess } from "../server_process.ts";
import type { Body, Conversation } from "./worst.ts";

const encoded = new Map<string, Uint8Array>();

export function createRequest(
  method: string,
  target: string,
  { type, body }: Body,
  headers = "",
): Uint8Array {
  const bytes = encodeBody(body);
  const head = new TextEncoder().encode(
    `${method} ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n${headers}` +
      (method === "GET" ? "\r\n" : `Content-Type: ${type}\r\nContent-Length: ${bytes.length}\r\n\r\n`),
  );
  if (method === "GET") return head;
  const request = new Uint8Array(head.length + bytes.length);
  request.set(head);
  request.set(bytes, head.length);
  return request;
}

/** A request without a body. */
export function createGet(target: string, headers = ""): Uint8Array {
  return createRequest("GET", target, { type: "", body: "" }, headers);
}

/** The bytes of a body, which goes to many routes. */
function encodeBody(body: string): Uint8Array {
  let bytes = encoded.get(body);
  if (bytes === undefined) encoded.set(body, bytes = new TextEncoder().encode(body));
  return bytes;
}

/** Sends one request several times at once, and reads for as long as an answer takes that ends. */
export async function send({ port }: ServerProcess, request: Uint8Array, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, async () => {
    using socket = await RawSocket.open(port);
    await socket.write(request).catch(() => {});
    await socket.readUntil("\r\n\r\n").catch(() => "");
  }));
}

/** Has a conversation several times at once, until the server has read everything or hung up. */
export async function converse(
  { port }: ServerProcess,
  { path, headers, opening, frames }: Conversation,
  count: number,
): Promise<void> {
  const toFrame = (content: string | Uint8Array) => createFrame(typeof content === "string" ? 1 : 2, content);
  const bytes = new Blob(frames.map(toFrame));
  const whole = new Uint8Array(await bytes.arrayBuffer());
  await Promise.all(Array.from({ length: count }, async () => {
    using socket = await RawSocket.upgrade(port, path, headers);
    if (opening !== undefined) {
      await socket.write(toFrame(opening.frame));
      await socket.readUntil(opening.answer);
    }
    const reading = socket.readToEnd();
    await socket.write(whole).catch(() => {});
    // Closing is answered after what came before it.
    await socket.write(createFrame(8, new Uint8Array([3, 232]))).catch(() => {});
    await reading;
  }));
}
