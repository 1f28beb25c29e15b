/** Pings that are answered, and pings that are not. */
import assert from "node:assert/strict";
import { Heartbeat } from "../../lib/base/heartbeat.ts";

Deno.test("Heartbeat pings again and again while it is answered, and no more once it stops", async () => {
  let pings = 0;
  await new Promise<void>((resolve, reject) => {
    const heartbeat: Heartbeat = new Heartbeat({
      interval: 0.01,
      timeout: 10,
      ping() {
        // Answered after the ping has gone out.
        queueMicrotask(() => heartbeat.answer() || reject(new Error("There was nothing to answer")));
        if (++pings < 4) return;
        queueMicrotask(() => heartbeat.stop());
        resolve();
      },
      onSilence: () => reject(new Error("It was answered")),
    });
  });
  assert.equal(pings, 4);
});

Deno.test("Heartbeat tells of silence, and of an answer to nothing", async () => {
  let heartbeat: Heartbeat | undefined;
  await new Promise<void>((resolve) => {
    heartbeat = new Heartbeat({ interval: 0.01, timeout: 0.02, ping: () => {}, onSilence: resolve });
    assert.equal(heartbeat.answer(), false);
  });
  heartbeat?.stop();
});
