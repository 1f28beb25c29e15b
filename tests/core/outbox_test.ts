/** The bound on what waits for a socket: what it admits, what it refuses, and how exact its count is. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Outbox } from "../../lib/core/outbox.ts";
import { Frame, type Socket } from "../../lib/core/socket.ts";
import { FakeSocket } from "../fakes/socket.ts";

function frames(count: number, size = 1): Frame[] {
  return Array.from({ length: count }, () => new Frame("x".repeat(size)));
}

function openOutbox(messages: number, bytes: number) {
  const socket = new FakeSocket();
  socket.stall();
  return { socket, outbox: new Outbox(socket, { messages, bytes }) };
}

Deno.test("Outbox.offer() sends in order, in one call", () => {
  const { socket, outbox } = openOutbox(10, 100);
  assert.equal(outbox.offer(["a", "b", "c"].map((text) => new Frame(text))), true);
  assert.deepEqual(socket.texts, ["a", "b", "c"]);
  assert.equal(socket.sends, 1);
});

Deno.test("Outbox.offer() never refuses on an empty queue", () => {
  const { socket, outbox } = openOutbox(2, 10);
  assert.equal(outbox.offer(frames(50, 100)), true);
  socket.leave(Infinity);
  assert.equal(outbox.offer(frames(1, 1_000)), true);
  socket.leave(Infinity);
  assert.equal(outbox.offer(frames(50)), true);
});

Deno.test("Outbox.offer() refuses more bytes than the limit, whole and without sending", () => {
  const { socket, outbox } = openOutbox(100, 10);
  assert.equal(outbox.offer(frames(2, 4)), true);
  assert.equal(outbox.offer(frames(1, 2)), true);
  assert.equal(outbox.offer(frames(1, 1)), false);
  assert.equal(socket.sent.length, 3);
  socket.leave(1);
  assert.equal(outbox.offer([new Frame("é")]), false, "bytes are bytes of UTF-8");
  assert.equal(outbox.offer(frames(1, 1)), true);
  socket.leave(9);
  assert.equal(outbox.offer([new Frame(new Uint8Array(9))]), true);
  assert.equal(outbox.offer(frames(1, 1)), false);
});

Deno.test("Outbox.offer() refuses more frames than the limit, whole and without sending", () => {
  const { socket, outbox } = openOutbox(5, 1_000);
  assert.equal(outbox.offer(frames(1)), true);
  assert.equal(outbox.offer(frames(5)), false);
  assert.equal(outbox.offer(frames(4)), true);
  assert.equal(outbox.offer(frames(1)), false);
  assert.equal(socket.sent.length, 5);
  socket.leave(Infinity);
  assert.equal(outbox.offer(frames(1)), true);
  assert.equal(outbox.offer(frames(4)), true, "what left is not counted any more");
});

Deno.test("Outbox.offer() refuses when as many frames without bytes may wait as the limit allows", () => {
  const socket = Object.assign(new FakeSocket(), { unseenFrames: 0 });
  const outbox = new Outbox(socket, { messages: 3, bytes: 100 });
  for (let i = 0; i < 3; i++) {
    assert.equal(outbox.offer([new Frame("")]), true);
    socket.unseenFrames++;
  }
  assert.equal(outbox.offer([new Frame("")]), false);
  assert.equal(outbox.offer(frames(1)), false);
  socket.unseenFrames = 0;
  assert.equal(outbox.offer(frames(9)), true, "an empty queue has room for anything");
});

Deno.test("Outbox.offer() asks its socket only when more than a third of a limit may wait", () => {
  let asked = 0;
  const socket = new FakeSocket();
  const counting: Socket = {
    id: socket.id,
    send: (sent) => socket.send(sent),
    get queuedBytes() {
      asked++;
      return socket.queuedBytes;
    },
    drained: () => socket.drained(),
    close: (code, reason) => socket.close(code, reason),
    terminate: () => socket.terminate(),
  };
  for (const limits of [{ messages: 300, bytes: 1e6 }, { messages: 1e6, bytes: 300 }]) {
    const outbox = new Outbox(counting, limits);
    asked = 0;
    for (let i = 0; i < 1_010; i++) assert.equal(outbox.offer(frames(1)), true);
    assert.equal(asked, 10);
  }
});

Deno.test("Outbox.isBehind is whether anything waits", () => {
  const { socket, outbox } = openOutbox(5, 1_000);
  assert.equal(outbox.isBehind, false);
  outbox.offer(frames(2));
  assert.equal(outbox.isBehind, true);
  socket.leave(1);
  assert.equal(outbox.isBehind, true);
  socket.leave(1);
  assert.equal(outbox.isBehind, false);
});

const arbitrarySteps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("offer"),
      amount: fc.integer({ min: 1, max: 8 }),
      size: fc.integer({ min: 1, max: 5 }),
    }),
    fc.record({ kind: fc.constant("leave"), amount: fc.integer({ min: 1, max: 25 }), size: fc.constant(0) }),
  ),
  { maxLength: 80 },
);

Deno.test("Outbox never lets more wait than the limits, however the socket drains", () => {
  fc.assert(
    fc.property(arbitrarySteps, fc.constantFrom(60, 10_000), (steps, bytes) => {
      const { socket, outbox } = openOutbox(20, bytes);
      for (const { kind, amount, size } of steps) {
        if (kind === "leave") socket.leave(amount);
        else if (outbox.offer(frames(amount, size))) {
          assert.ok(socket.queuedFrames <= 20, `${socket.queuedFrames} frames wait`);
          assert.ok(socket.queuedBytes <= bytes);
        }
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("Outbox never refuses a reader that keeps within a third of the limit", () => {
  // The count of frames is a bound from above: it lags behind by the queues at the last two marks.
  fc.assert(
    fc.property(arbitrarySteps, (steps) => {
      const { socket, outbox } = openOutbox(60, 10_000);
      for (const { kind, amount, size } of steps) {
        if (kind === "leave") socket.leave(amount);
        else if (socket.queuedFrames + amount <= 20) assert.equal(outbox.offer(frames(amount, size)), true);
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("Outbox never refuses a steady reader whose queue is never empty", () => {
  const { socket, outbox } = openOutbox(40, 10_000);
  outbox.offer(frames(10));
  for (let i = 0; i < 1_000; i++) {
    assert.equal(outbox.offer(frames(3)), true);
    socket.leave(3);
  }
  assert.equal(socket.queuedFrames, 10);
});
