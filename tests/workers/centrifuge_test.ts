/** Centrifuge on three workers: nothing of a channel comes before the answer to its subscribe. */
import assert from "node:assert/strict";
import { RawClient } from "../protocols/centrifuge/app.ts";
import { startWorkers, type TestApp } from "../test_app.ts";

async function sendTo(server: TestApp, id: string): Promise<void> {
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const response = await fetch(`${server.url}/room?to=${id}`, { method: "POST", body: "direct", client });
  await response.body?.cancel();
  client.close();
}

Deno.test("Workers answer a subscribe before joins, leaves and direct messages of its channel", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  // Others come and go all the time.
  let isOver = false;
  const churn = Array.from({ length: 4 }, async () => {
    await using client = await RawClient.connect(server);
    while (!isOver) {
      client.send({ id: 10, subscribe: { channel: "room" } }, { id: 11, unsubscribe: { channel: "room" } });
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  for (let round = 0; round < 15; round++) {
    await using client = await RawClient.open(server);
    const { connect } = await client.call("connect");
    const sent = Array.from({ length: 3 }, () => sendTo(server, connect.client));
    // The call fails unless the next reply is its answer.
    const { subscribe } = await client.call("subscribe", { channel: "room", join_leave: true });
    assert.ok(subscribe !== undefined);
    await Promise.all(sent);
  }
  isOver = true;
  await Promise.all(churn);
});
