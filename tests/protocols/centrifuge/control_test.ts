/** What an operator does to a client of the Centrifuge protocol, asked for in the server's own process. */
import assert from "node:assert/strict";
import { startApp } from "../../test_app.ts";
import { publish, RawClient, secondsFromNow, texts } from "./app.ts";

Deno.test("An operator's words reach the client as they are: unsubscribe, subscribe, disconnect, refresh", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  await client.call("subscribe", { channel: "news" });
  const [known] = server.app.hub.clients;
  const control = known?.control;
  assert.equal(control?.unsubscribe("news", 2000, "enough"), true);
  assert.equal(control?.unsubscribe("news", 2000, "enough"), false);
  assert.deepEqual(await client.next(), {
    push: { channel: "news", unsubscribe: { code: 2000, reason: "enough" } },
  });
  const { epoch } = server.app.hub.top;
  assert.equal(await control?.subscribe("news", { data: { kind: "json", text: '{"a":1}' } }), true);
  assert.equal(await control?.subscribe("news", {}), false);
  assert.deepEqual(await client.next(), {
    push: { channel: "news", subscribe: { recoverable: true, epoch, positioned: true, data: { a: 1 } } },
  });
  await publish(server, "news", "1");
  assert.deepEqual(texts([await client.next()]), ["1"]);
  control?.refresh(secondsFromNow(100));
  const { push: { refresh } } = await client.next();
  assert(refresh.expires && refresh.ttl > 95);
  control?.refresh(1);
  assert.deepEqual(await client.socket.closed, { code: 3005, reason: "connection expired" });
  await using second = await RawClient.connect(server);
  for (const { control } of server.app.hub.clients) control?.disconnect(4321, "{} is no JSON for clients");
  assert.equal((await second.socket.closed).code, 4321);
});

Deno.test("A subscription that has expired ends with 2501, and the client is told after its start", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  const [known] = server.app.hub.clients;
  // Past the time in which a client may still refresh.
  await known?.control?.subscribe("news", { expires: secondsFromNow(-30) });
  assert("subscribe" in (await client.next()).push);
  assert.deepEqual(await client.next(), {
    push: { channel: "news", unsubscribe: { code: 2501, reason: "subscription expired" } },
  });
  assert.equal(server.app.hub.subscriptionCount, 0);
});
