/** Webhooks across crashes: the server is killed again and again, the receiver fails, stalls and restarts meanwhile. */
import assert from "node:assert/strict";
import { startServer } from "../server_process.ts";
import { countTo, hasAll, misbehave, publishUntil, writeImpatientHook, writeRules } from "./crash.ts";
import { assertOrder, Receiver } from "./receiver.ts";

const CHANNELS = ["a", "b/1", "b/2", "c/x/y"];
const KILLS = 20;

Deno.test("Every stored message arrives in order although the server is killed 20 times", async () => {
  await using receiver = new Receiver();
  const misbehaviour = misbehave(receiver);
  const directory = await Deno.makeTempDir();
  await using server = await startServer({
    flags: [
      ...["--engine", `sqlite:${directory}/log.db`, "--log-level", "warn"],
      ...["--rules", await writeRules(directory), "--hooks", await writeImpatientHook(receiver.url)],
    ],
  });
  const confirmed = new Map<string, number>();
  const stop = new AbortController();
  const publishers = CHANNELS.map((channel) =>
    publishUntil(() => server.url, channel, { confirmed, receiver, signal: stop.signal })
  );
  for (let i = 0; i < KILLS; i++) {
    await countTo(receiver, 1 + i % 3);
    misbehaviour.release();
    // Every third time it is away when the server dies.
    if (i % 3 === 1) await receiver.stop();
    await server.kill();
    await server.start();
    if (i % 3 === 1) receiver.start();
  }
  await countTo(receiver, 3);
  stop.abort();
  await Promise.all(publishers);
  await receiver.until(() => hasAll(receiver, confirmed));
  misbehaviour.release();
  assert.deepEqual(receiver.events.filter(({ type }) => type !== "message"), []);
  assertOrder(receiver.events, confirmed);
  assert.equal(confirmed.size, CHANNELS.length);
  const { failures, redirects, stalls } = misbehaviour;
  assert.ok(failures > 0 && redirects > 0 && stalls > 0);
  assert.ok(receiver.requests.length > receiver.taken.length);
  await Deno.remove(directory, { recursive: true });
});
