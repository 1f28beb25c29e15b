/** pusher-js comes back as each class of close code says: never, after a second, at once. */
import assert from "node:assert/strict";
import { type ErrorCode, MessagingError } from "../../../lib/core/errors.ts";
import type { TestApp } from "../../test_app.ts";
import { APP, OfficialClient, openServerLibrary, startPusherApps } from "./pusher_app.ts";

/** What pusher-js waits, in milliseconds, after a code from 4100 to 4199. Its timer may be a little early. */
const PAUSE = 1_000;
const EARLY = 20;

// The client's socket library keeps a timer for its closing handshake a moment longer than the connection.
const CLOSING = { sanitizeOps: false, sanitizeResources: false };

const OFF = { id: "off", key: "key-off", secret: "secret-of-app-off", enabled: false };

/** Ends a connection as the server does for an error, and resolves to the milliseconds until the client comes back. */
async function endAndTime(server: TestApp, client: OfficialClient, code: ErrorCode): Promise<number> {
  const id = await client.connected();
  const connection = [...server.app.hub.clients].find((other) => other.id === id);
  assert.ok(connection !== undefined);
  const failed = client.next(client.pusher.connection, "error");
  const again = new Promise<number>((resolve) =>
    client.pusher.connection.bind("state_change", ({ current }: { current: string }) => {
      if (current === "connecting") resolve(performance.now());
    })
  );
  const connected = client.next(client.pusher.connection, "connected");
  connection.end(new MessagingError(code, "the reason"));
  await failed;
  const start = performance.now();
  const pause = await again - start;
  await connected;
  assert.notEqual(client.pusher.connection.socket_id, id);
  return pause;
}

for (const code of ["draining", "idle", "internal"] as const) {
  Deno.test(`pusher-js comes back at once after ${code}, and is subscribed as before`, CLOSING, async () => {
    await using server = await startPusherApps([APP]);
    await using client = new OfficialClient(server);
    const channel = await client.subscribe("news");
    const subscribed = client.next(channel, "pusher:subscription_succeeded");
    assert.ok(await endAndTime(server, client, code) < PAUSE - EARLY);
    await subscribed;
    const event = client.next(channel, "e");
    await openServerLibrary(server).trigger("news", "e", 1);
    assert.equal(await event, 1);
  });
}

for (const code of ["log_unavailable", "application_unavailable", "too_many_publishes"] as const) {
  Deno.test(`pusher-js comes back a second after ${code}`, CLOSING, async () => {
    await using server = await startPusherApps([APP]);
    await using client = new OfficialClient(server);
    assert.ok(await endAndTime(server, client, code) >= PAUSE - EARLY);
  });
}

Deno.test(
  "pusher-js never comes back to an unknown or disabled app, nor after it was terminated",
  CLOSING,
  async () => {
    await using server = await startPusherApps([APP, OFF]);
    await using unknown = new OfficialClient(server, { key: "unknown" });
    await using disabled = new OfficialClient(server, { key: OFF.key });
    await using terminated = new OfficialClient(server);
    await using clock = new OfficialClient(server);
    await terminated.connected();
    const signedIn = terminated.next(terminated.pusher, "pusher:signin_success");
    terminated.pusher.signin();
    await signedIn;
    const ended = terminated.next(terminated.pusher.connection, "disconnected");
    await openServerLibrary(server).terminateUserConnections("ann");
    await ended;
    for (const client of [unknown, disabled]) {
      if (client.pusher.connection.state !== "disconnected") {
        await client.next(client.pusher.connection, "disconnected");
      }
    }
    // Another client comes back after a pause: those that are to stay away had the time to come back, too.
    await endAndTime(server, clock, "log_unavailable");
    assert.deepEqual(unknown.states, ["disconnected"]);
    assert.deepEqual(disabled.states, ["disconnected"]);
    assert.deepEqual(terminated.states, ["connected", "disconnected"]);
    assert.deepEqual([...server.app.hub.clients].map(({ id }) => id), [await clock.connected()]);
  },
);
