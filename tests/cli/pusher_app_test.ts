/** The task `pusher-app` prints an app that the server takes. */
import assert from "node:assert/strict";
import { createApp } from "../../lib/cli/pusher_app.ts";
import { parseApp } from "../../lib/protocols/pusher/apps.ts";

Deno.test("createApp() makes apps that the server takes, each another", () => {
  const apps = Array.from({ length: 50 }, createApp);
  for (const { id, key, secret } of apps) assert.equal(parseApp(`${id}:${key}:${secret}`).secret, secret);
  assert.equal(new Set(apps.map(({ secret }) => secret)).size, apps.length);
});
