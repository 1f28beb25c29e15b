/** Long work in slices lets sockets go first. */
import assert from "node:assert/strict";
import { nextSlice, SliceClock } from "../../lib/base/slices.ts";

const SLICES = 20;
/** So many slices may pass before a byte that has arrived is handed over. */
const PATIENCE = 4;

/** A connection to itself, over loopback. */
async function connectPair(): Promise<[Deno.TcpConn, Deno.TcpConn]> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepting = listener.accept();
  return await Promise.all([Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }), accepting]);
}

/** Keeps the thread busy, for as long as a slice lasts unless told otherwise. */
function work(milliseconds = 4): void {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** How many slices had been done when a byte arrived that was sent before the first. */
async function countBefore(start: () => Promise<unknown>, count: () => number): Promise<number> {
  const [client, server] = await connectPair();
  using _client = client;
  using _server = server;
  const arrived = server.read(new Uint8Array(1)).then(count);
  // Slices that run before this line ends would count against the runtime, which has not been asked to send.
  await client.write(new Uint8Array([1]));
  await start();
  return await arrived;
}

Deno.test("nextSlice() lets a byte from a socket go before many callers that wait", async () => {
  let done = 0;
  const before = await countBefore(
    () =>
      Promise.all(Array.from({ length: SLICES }, async () => {
        await nextSlice();
        work();
        done++;
      })),
    () => done,
  );
  assert.equal(done, SLICES);
  assert.ok(before <= PATIENCE, `${before} of ${SLICES} slices went first`);
});

// One slice may take longer than the pause after which the loop counts as idle.
for (const milliseconds of [4, 60]) {
  Deno.test(`nextSlice() lets a request be answered between slices of ${milliseconds} ms`, async () => {
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      () => new Response("answer"),
    );
    const ask = async () => await (await fetch(`http://127.0.0.1:${server.addr.port}`)).text();
    await ask();
    let done = 0;
    let answered: Promise<number> | undefined;
    await Promise.all(Array.from({ length: SLICES }, async () => {
      await nextSlice();
      // Asked once slices follow each other.
      if (++done === 2) answered = ask().then(() => done - 2);
      work(milliseconds);
    }));
    const before = await answered;
    assert.ok(before !== undefined && before <= PATIENCE, `${before} of ${SLICES} slices went first`);
  });
}

Deno.test("SliceClock lets a byte from a socket go before the rest of one caller's work", async () => {
  let done = 0;
  const before = await countBefore(
    async () => {
      const slice = new SliceClock();
      // The clock is read at every sixteenth item.
      for (; done < SLICES; done++) {
        work();
        for (let item = 0; item < 16; item++) if (slice.isOver) await slice.next();
      }
    },
    () => done,
  );
  assert.equal(done, SLICES);
  assert.ok(before <= PATIENCE, `${before} of ${SLICES} slices went first`);
});

Deno.test("nextSlice() serves callers in their order, and one that asks again after the others", async () => {
  const order: string[] = [];
  await Promise.all([
    nextSlice().then(() => order.push("a")).then(nextSlice).then(() => order.push("a again")),
    nextSlice().then(() => order.push("b")),
    nextSlice().then(() => order.push("c")),
  ]);
  assert.deepEqual(order, ["a", "b", "c", "a again"]);
});

Deno.test("nextSlice() keeps the order of many thousands, also of those that come while others are served", async () => {
  const order: number[] = [];
  const ask = (number: number) => nextSlice().then(() => order.push(number));
  const all = Array.from({ length: 20_000 }, async (_, i) => {
    await ask(i);
    if (i % 3 === 0) await ask(20_000 + i / 3);
  });
  await Promise.all(all);
  assert.deepEqual(order, Array.from(order.keys()));
});
