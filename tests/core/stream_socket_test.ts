/** The socket over a response body: what it queues, how it joins, when it is drained, and how it ends. */
import assert from "node:assert/strict";
import { Frame } from "../../lib/core/socket.ts";
import { StreamSocket } from "../../lib/core/stream_socket.ts";
import { settle } from "../fakes/schedule.ts";

/** More than fits into a joined chunk with another of its kind. */
const BIG = "x".repeat(40_000);

function createFrame(text: string): Frame {
  return new Frame(new TextEncoder().encode(text));
}

/** Resolves to how often the queue was empty when it was asked to be. */
function countDrains(socket: StreamSocket): { count: number } {
  const drains = { count: 0 };
  for (let i = 0; i < 2; i++) void socket.drained().then(() => drains.count++);
  return drains;
}

Deno.test("StreamSocket.send() counts bytes nobody has read, and hands them over in order and joined", async () => {
  const socket = new StreamSocket(() => {});
  assert.equal(socket.queuedBytes, 0);
  socket.send([createFrame("ab"), createFrame("é")]);
  socket.send([createFrame("c")]);
  assert.equal(socket.queuedBytes, 5);
  const reader = socket.body.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await reader.read()).value, "abéc");
  assert.equal(socket.queuedBytes, 0);
  const next = reader.read();
  socket.send([createFrame("d")]);
  assert.equal((await next).value, "d");
  socket.close();
  assert.equal((await reader.read()).done, true);
});

Deno.test("StreamSocket.send() of texts is a programmer's mistake", () => {
  assert.throws(() => new StreamSocket(() => {}).send([new Frame("text")]), TypeError);
});

Deno.test("StreamSocket joins chunks to a bounded size and never cuts one", async () => {
  const socket = new StreamSocket(() => {});
  const texts = [BIG, BIG, "a", "b", BIG + BIG, "c"];
  socket.send(texts.map(createFrame));
  socket.close();
  const chunks: string[] = [];
  for await (const chunk of socket.body) chunks.push(new TextDecoder().decode(chunk));
  assert.equal(chunks.join(""), texts.join(""));
  assert.deepEqual(chunks.map((chunk) => chunk.length), [40_000, 40_002, 80_000, 1]);
});

Deno.test("StreamSocket.drained() resolves when all is read, not before", async () => {
  const socket = new StreamSocket(() => {});
  await socket.drained();
  const reader = socket.body.getReader();
  socket.send([createFrame(BIG), createFrame(BIG)]);
  const drains = countDrains(socket);
  await settle();
  assert.equal(drains.count, 0);
  await reader.read();
  await settle();
  assert.deepEqual([drains.count, socket.queuedBytes], [0, 40_000]);
  await reader.read();
  await settle();
  assert.equal(drains.count, 2);
  await reader.cancel();
});

Deno.test("StreamSocket tells once that its reader has gone, and takes what comes after in silence", async () => {
  let ended = 0;
  const socket = new StreamSocket(() => ended++);
  socket.send([createFrame("a")]);
  const drains = countDrains(socket);
  await socket.body.cancel();
  await settle();
  assert.equal(drains.count, 2);
  socket.send([createFrame("b")]);
  assert.equal(socket.queuedBytes, 0);
  socket.close();
  socket.terminate();
  assert.equal(ended, 1);
});

Deno.test("StreamSocket.close() ends the body after what is queued, and is no news to its owner", async () => {
  const socket = new StreamSocket(() => assert.fail("the reader did not go"));
  socket.send([createFrame("last")]);
  socket.close();
  socket.close();
  socket.send([createFrame("never")]);
  const drains = countDrains(socket);
  assert.equal(await new Response(socket.body).text(), "last");
  await settle();
  assert.equal(drains.count, 2);
});

Deno.test("StreamSocket.terminate() drops what is queued and ends the body at the end of a frame", async () => {
  const socket = new StreamSocket(() => assert.fail("the reader did not go"));
  socket.send([createFrame(BIG), createFrame(BIG)]);
  const drains = countDrains(socket);
  const reader = socket.body.getReader();
  assert.equal((await reader.read()).value?.byteLength, 40_000);
  socket.terminate();
  assert.equal((await reader.read()).done, true);
  await settle();
  assert.deepEqual([drains.count, socket.queuedBytes], [2, 0]);
});

Deno.test("StreamSocket ids are unique", () => {
  assert.notEqual(new StreamSocket(() => {}).id, new StreamSocket(() => {}).id);
});
