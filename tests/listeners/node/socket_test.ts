/** The Socket of the node listener over a connection that takes nothing: what waits costs no more than its size. */
import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { Writable } from "node:stream";
import { Frame } from "../../../lib/core/socket.ts";
import { NodeSocket } from "../../../lib/listeners/node/socket.ts";

type Parameters = ConstructorParameters<typeof NodeSocket>;

/** A connection that keeps what is written, and never has room for more. */
class StalledConnection extends Writable {
  readonly taken: Buffer[] = [];

  override _write(chunk: Buffer): void {
    this.taken.push(chunk);
  }

  override _writev(): void {}
}

Deno.test("Frames that wait at a slow socket have memory of their own, which other slow sockets share", () => {
  const webSocket = { readyState: 1 } as Parameters[0];
  const connections = [new StalledConnection(), new StalledConnection()];
  const written: Buffer[][] = connections.map(() => []);
  const sockets = connections.map((connection, i) => {
    const write = connection.write.bind(connection);
    connection.write = (chunk: Buffer) => {
      written[i]!.push(chunk);
      return write(chunk);
    };
    return new NodeSocket(webSocket, connection as unknown as Parameters[1]);
  });
  for (const text of ["one", "two", "three"]) {
    const frames = [new Frame(text)];
    for (const socket of sockets) socket.send(frames);
  }
  const [first, second] = written;
  assert.deepEqual(first!.map(String), second!.map(String));
  for (const i of [1, 2]) {
    assert.equal(first![i]!.buffer.byteLength, first![i]!.byteLength);
    assert.equal(first![i], second![i]);
  }
});
