/** Pusher's webhooks: what is told, signed, and told again to a receiver that failed. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { startApp } from "../../test_app.ts";
import { APP, OfficialClient } from "./pusher_app.ts";

interface Call {
  readonly headers: Headers;
  readonly body: string;
}

/** A receiver that fails the first call. */
function openReceiver(): { server: Deno.HttpServer<Deno.NetAddr>; next(): Promise<Call> } {
  const calls: Call[] = [];
  let waiting: ((call: Call) => void) | undefined;
  let failed = false;
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const call = { headers: request.headers, body: await request.text() };
    if (!failed) {
      failed = true;
      return new Response(null, { status: 500 });
    }
    if (waiting === undefined) calls.push(call);
    else waiting(call);
    waiting = undefined;
    return new Response();
  });
  return {
    server,
    next: () => {
      const call = calls.shift();
      return call === undefined ? new Promise((resolve) => waiting = resolve) : Promise.resolve(call);
    },
  };
}

Deno.test("what happens on channels is posted, signed, and posted again after a failure", async () => {
  const receiver = openReceiver();
  const file = await Deno.makeTempFile();
  const url = `http://127.0.0.1:${receiver.server.addr.port}/hook`;
  await Deno.writeTextFile(file, JSON.stringify([{ ...APP, webhooks: [url] }]));
  try {
    await using server = await startApp("--pusher-apps", file);
    await using client = new OfficialClient(server, { user: { user_id: "1" } });
    await client.subscribe("presence-a");
    const names: string[] = [];
    while (!names.includes("member_added")) {
      const { headers, body } = await receiver.next();
      assert.equal(headers.get("x-pusher-key"), APP.key);
      assert.equal(
        headers.get("x-pusher-signature"),
        createHmac("sha256", APP.secret).update(body).digest("hex"),
      );
      const { time_ms: time, events } = JSON.parse(body);
      assert.ok(Math.abs(Date.now() - time) < 60_000);
      for (const event of events) names.push(event.name);
    }
    assert.deepEqual(names, ["channel_occupied", "member_added"]);
    assert.equal(server.logger.find("pusher webhook failed").length, 1);
    assert.ok(!JSON.stringify(server.logger.entries).includes(APP.secret));
  } finally {
    await Deno.remove(file);
    await receiver.server.shutdown();
  }
});
