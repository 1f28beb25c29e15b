/** Bursts of frames are handled in slices: in their order, with the end of the connection behind them. */
import assert from "node:assert/strict";
import { nextSlice } from "../../lib/base/slices.ts";
import { LISTENERS } from "../../lib/listeners/mod.ts";
import { SlicedEvents } from "../../lib/listeners/sliced_events.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";
import { createFrame, RawSocket } from "../raw_socket.ts";
import { createConfig } from "../test_app.ts";

/** Frames of one burst. */
const COUNT = 100;

/** Keeps the thread busy. */
function work(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** Two sockets that note what they handle, each taking a millisecond. */
function createSockets(): { sockets: [SlicedEvents, SlicedEvents]; handled: string[] } {
  const handled: string[] = [];
  const create = (name: string) =>
    new SlicedEvents((event) => {
      work(1);
      handled.push(`${name} ${event instanceof MessageEvent ? event.data : event.type}`);
    });
  return { sockets: [create("a"), create("b")], handled };
}

/** Resolves once a turn has begun in which nothing has been read yet. */
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

Deno.test("What arrives in one turn is handled for as long as a slice lasts, and the rest in order, with the close last", async () => {
  await nextTurn();
  const { sockets, handled } = createSockets();
  for (let i = 0; i < COUNT; i++) {
    for (const socket of sockets) socket.add(new MessageEvent("message", { data: String(i) }));
  }
  for (const socket of sockets) socket.add(new CloseEvent("close"));
  assert.ok(handled.length >= 1 && handled.length < 10, `${handled.length} at once`);
  const most = 2 * COUNT + 2;
  let turns = 0;
  for (; handled.length < most && turns < most; turns++) await nextSlice();
  assert.equal(handled.length, most);
  assert.ok(turns > 10, `Others had ${turns} turns`);
  for (const name of ["a", "b"]) {
    const own = handled.filter((text) => text.startsWith(name));
    assert.deepEqual(own, [...Array.from({ length: COUNT }, (_, i) => `${name} ${i}`), `${name} close`]);
  }
});

Deno.test("A single frame is handled at once, also while frames of another socket wait", async () => {
  await nextTurn();
  const { sockets: [first, second], handled } = createSockets();
  for (let i = 0; i < COUNT; i++) first.add(new MessageEvent("message", { data: String(i) }));
  await nextTurn();
  second.add(new MessageEvent("message", { data: "alone" }));
  assert.equal(handled.at(-1), "b alone");
  while (handled.length < COUNT + 1) await nextSlice();
});

Deno.test("More frames than may wait are handled as they come: nothing is lost", async () => {
  await nextTurn();
  const handled: number[] = [];
  const socket = new SlicedEvents((event) => {
    if (handled.length === 0) work(4);
    handled.push((event as MessageEvent<string>).data.length);
  });
  const lengths = Array.from({ length: COUNT }, (_, i) => 400_000 + i);
  for (const length of lengths) socket.add(new MessageEvent("message", { data: "x".repeat(length) }));
  assert.ok(handled.length > COUNT / 3 && handled.length < COUNT, `${handled.length} at once`);
  while (handled.length < COUNT) await nextSlice();
  assert.deepEqual(handled, lengths);
});

for (const name of ["deno", "node"] as const) {
  Deno.test(`A request is answered before the frames of two WebSockets are handled, on the ${name} listener`, async () => {
    let handled = 0;
    const done = Promise.withResolvers<void>();
    const isBusy = Promise.withResolvers<void>();
    const options = { ...createConfig(), hostname: "127.0.0.1", port: 0, logger: new RecordingLogger() };
    const listener = await LISTENERS[name](options, (request, peer) => {
      if (request.headers.get("upgrade") === null) return Promise.resolve(new Response(String(handled)));
      return Promise.resolve(peer.upgrade({
        open() {},
        message() {
          work(4);
          isBusy.resolve();
          if (++handled === 2 * COUNT) done.resolve();
        },
        close() {},
      }));
    });
    using bystander = await RawSocket.open(listener.port);
    const ask = async () => {
      await bystander.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
      await bystander.readUntil("\r\n\r\n");
    };
    await ask();
    using first = await RawSocket.upgrade(listener.port, "/1");
    using second = await RawSocket.upgrade(listener.port, "/2");
    const frames = Array.from({ length: COUNT }, () => createFrame(1, "x".repeat(500)));
    const bytes = new Uint8Array(await new Blob(frames).arrayBuffer());
    await Promise.all([first.write(bytes), second.write(bytes)]);
    await isBusy.promise;
    const before = handled;
    await ask();
    const meanwhile = handled - before;
    assert.ok(meanwhile < COUNT / 2, `${meanwhile} frames went first`);
    await done.promise;
    await listener.close(1_000);
  });
}
