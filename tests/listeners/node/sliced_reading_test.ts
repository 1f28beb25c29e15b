/** Connections are read in slices: nothing is lost or overtaken, whoever takes long, stops reading or hangs up. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { Duplex } from "node:stream";
import { nextSlice } from "../../../lib/base/slices.ts";
import { readInSlices } from "../../../lib/listeners/node/sliced_reading.ts";
import { LISTENERS } from "../../../lib/listeners/mod.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { createConfig, startApp } from "../../test_app.ts";
import { createFrame, RawSocket } from "../../raw_socket.ts";

const CHUNK_BYTES = 64 * 1024;

/** A connection on which chunks arrive when they are pushed. */
function connect(): Duplex {
  return new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
}

/** Keeps the thread busy for longer than a slice lasts. */
function work(): void {
  const end = performance.now() + 4;
  while (performance.now() < end);
}

/** Bytes of which no two neighbouring pieces are alike. */
function createChunk(seed: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: CHUNK_BYTES }, (_, i) => (i * 7 + (i >> 8) + seed) & 0xff));
}

Deno.test("Two connections take turns, each gets all bytes in order, and ends behind them", async () => {
  const order: number[] = [];
  const chunks = [0, 1].map((seed) => [createChunk(seed), createChunk(seed + 2)]);
  const connections = chunks.map((chunks, i) => {
    const connection = connect();
    const got: Buffer[] = [];
    connection.on("data", (piece: Buffer) => {
      order.push(i);
      got.push(piece);
      work();
    });
    readInSlices(connection);
    for (const chunk of chunks) connection.push(chunk);
    connection.push(null);
    return { connection, got };
  });
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  await Promise.all(connections.map(({ connection }) => once(connection, "end")));
  clearInterval(timer);
  for (const [i, { got }] of connections.entries()) {
    assert.ok(Buffer.concat(got).equals(Buffer.concat(chunks[i]!)));
  }
  const changes = order.filter((connection, i) => connection !== order[i - 1]).length;
  assert.ok(changes > order.length / 2, `They took turns: ${order}`);
  assert.ok(turns > order.length / 4, `Others had theirs: ${turns}`);
});

Deno.test("Chunks that take no time are read whole, also while others wait for their slices", async () => {
  const connection = connect();
  const got: Buffer[] = [];
  connection.on("data", (piece: Buffer) => got.push(piece));
  readInSlices(connection);
  const waiting = nextSlice();
  const [small, large] = [createChunk(1).subarray(0, 1_000), createChunk(2)];
  connection.emit("data", small);
  assert.equal(got[0], small);
  // The best of several, as the machine may stop the process for a moment.
  let most = 0;
  for (let i = 0; i < 5 && most < CHUNK_BYTES; i++) {
    const before = got.length;
    connection.emit("data", large);
    most = Math.max(most, Buffer.concat(got.slice(before)).length);
  }
  assert.equal(most, CHUNK_BYTES);
  await waiting;
});

Deno.test("A listener that is removed gets no more, in the middle of a chunk too", () => {
  const connection = connect();
  let pieces = 0;
  const read = () => {
    pieces++;
    connection.off("data", read);
  };
  connection.on("data", read);
  readInSlices(connection);
  connection.emit("data", createChunk(1));
  connection.emit("data", createChunk(2));
  assert.equal(pieces, 1);
  assert.equal(connection.listenerCount("data"), 0);
});

Deno.test("What waits for its slice when the connection is reset can still be read", async () => {
  const connection = connect();
  const got: Buffer[] = [];
  const read = (piece: Buffer) => {
    got.push(piece);
    work();
  };
  connection.on("data", read);
  readInSlices(connection);
  const chunk = createChunk(1);
  connection.emit("data", chunk);
  assert.ok(got.length < CHUNK_BYTES / 8192, "some of it waits");
  // As `ws` does it.
  connection.off("data", read);
  got.push(connection.read(connection.readableLength));
  assert.ok(Buffer.concat(got).equals(chunk));
  connection.destroy();
  // Behind the slice that the connection waits for.
  await nextSlice();
  assert.equal(connection.readableLength, 0);
  assert.ok(Buffer.concat(got).equals(chunk), "nothing comes twice");
});

Deno.test("Many frames of one WebSocket do not keep another from being read", async () => {
  const order: number[] = [];
  const COUNT = 40;
  const done = Promise.withResolvers<void>();
  const options = { ...createConfig(), hostname: "127.0.0.1", port: 0, logger: new RecordingLogger() };
  const listener = await LISTENERS.node(options, (request, peer) => {
    const number = Number(new URL(request.url).pathname.slice(1));
    return Promise.resolve(peer.upgrade({
      open() {},
      message() {
        order.push(number);
        work();
        if (order.length === 2 * COUNT) done.resolve();
      },
      close() {},
    }));
  });
  using first = await RawSocket.upgrade(listener.port, "/1");
  using second = await RawSocket.upgrade(listener.port, "/2");
  // One chunk each: ten frames a piece.
  const frames = Array.from({ length: COUNT }, () => createFrame(1, "x".repeat(800)));
  const bytes = new Uint8Array(await new Blob(frames).arrayBuffer());
  await Promise.all([first.write(bytes), second.write(bytes)]);
  await done.promise;
  assert.ok(order.indexOf(2) <= COUNT / 2 && order.indexOf(1) <= COUNT / 2, `They took turns: ${order}`);
  await listener.close(1_000);
});

Deno.test("All answers to many frames come before that to the close frame behind them", async () => {
  await using app = await startApp("--listener", "node");
  using reader = await RawSocket.upgrade(app.port, "/slices");
  using client = await RawSocket.upgrade(app.port, "/slices");
  const count = 4_000;
  const frames = Array.from({ length: count }, (_, i) => [createFrame(1, `${i};`), createFrame(1, "Hello")]);
  const close = createFrame(8, new Uint8Array([3, 232]));
  const [read, answers] = await Promise.all([
    reader.readUntil(`${count - 1};`),
    client.readToEnd(),
    new Blob([...frames.flat(), close]).arrayBuffer().then((bytes) => client.write(new Uint8Array(bytes))),
  ]);
  const numbers = Array.from(read.matchAll(/([0-9]+);/g), ([, number]) => Number(number));
  assert.deepEqual(numbers, Array.from({ length: count }, (_, i) => i));
  assert.equal(answers.split("World!").length - 1, count);
});
