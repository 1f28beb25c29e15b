/** Answers of the node listener to clients that close their side of the connection once they have asked, as `nc` does. */
import assert from "node:assert/strict";
import { nextSlice } from "../../../lib/base/slices.ts";
import { RawSocket } from "../../raw_socket.ts";
import { startApp } from "../../test_app.ts";

/** Keeps so many callers waiting for slices of a millisecond. Ends when it is disposed. */
class BusySlices implements AsyncDisposable {
  #isOver = false;
  readonly #running: Promise<unknown>;

  constructor(callers: number) {
    this.#running = Promise.all(Array.from({ length: callers }, () => this.#run()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      await nextSlice();
      const end = performance.now() + 1;
      while (performance.now() < end);
    }
  }
}

const ANSWERS = [["an export", "export=ndjson"], ["a replay", "follow&since=earliest&limit=100"]] as const;

for (const [what, query] of ANSWERS) {
  Deno.test(`node listener: ${what} goes on for a client that has closed its side, however long it waits`, async () => {
    await using server = await startApp("--listener", "node");
    const { hub } = server.app;
    const text = "x".repeat(10_000);
    for (let i = 0; i < 100; i++) {
      await hub.publish({ channel: "news", payload: { kind: "text", text } });
    }
    await using _busy = new BusySlices(300);
    using socket = await RawSocket.open(server.port);
    await socket.write(`GET /news?${query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    await socket.closeWrite();
    const answer = await socket.readToEnd();
    assert.equal(answer.split(text).length - 1, 100);
  });
}

Deno.test("node listener: a stream ends for a client that has closed its side", async () => {
  await using server = await startApp("--listener", "node");
  await using _busy = new BusySlices(20);
  using socket = await RawSocket.open(server.port);
  await socket.write("GET /news HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
  await socket.readUntil("begin");
  await socket.closeWrite();
  await socket.readToEnd();
  assert.equal(server.app.hub.clientCount, 0);
});
