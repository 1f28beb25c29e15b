/** Just enough of a WebSocket client (RFC 6455) for readers: the handshake. */
import { encodeOpeningRequest } from "./generator/endpoint.ts";
import { RawConnection } from "./raw_connection.ts";

/** Opens a WebSocket on a path; what comes behind the handshake is read from the connection. */
export async function openRawSocket(port: number, path: string, bufferSize?: number): Promise<RawConnection> {
  const connection = await RawConnection.open(port, bufferSize);
  connection.send(encodeOpeningRequest({ path, kind: "WebSocket" }, ""));
  const head = await connection.readHead();
  if (head.startsWith("HTTP/1.1 101")) return connection;
  connection[Symbol.dispose]();
  throw new Error(`GET ${path} did not answer with a WebSocket: ${head}`);
}
