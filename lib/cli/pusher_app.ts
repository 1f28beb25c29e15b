/** The task `pusher-app`: prints a new app for Pusher's clients, and how to use it. */
import { formatTask } from "../base/task.ts";

/** A new app: numbers for the id and random letters for key and secret, as Pusher's own have them. */
export function createApp(): { readonly id: string; readonly key: string; readonly secret: string } {
  const id = String(100_000 + crypto.getRandomValues(new Uint32Array(1))[0]! % 900_000);
  const random = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes)).toHex();
  return { id, key: random(10), secret: random(20) };
}

if (import.meta.main) {
  const { id, key, secret } = createApp();
  console.log(`RAINDROPS_PUSHER_APP=${id}:${key}:${secret}`);
  console.error(`\nPut this variable before ${formatTask("start", Deno.execPath())}. In the application:\n`);
  console.error(`PUSHER_APP_ID=${id}\nPUSHER_APP_KEY=${key}\nPUSHER_APP_SECRET=${secret}`);
  console.error("PUSHER_HOST=127.0.0.1\nPUSHER_PORT=8000\nPUSHER_SCHEME=http");
}
