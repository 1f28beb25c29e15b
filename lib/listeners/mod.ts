/** The registry of listeners: `server.ts` picks one by name. */
import { createPeer, listenDeno, type UpgradeOptions } from "./deno.ts";
import type { Listen } from "./listener.ts";

export { createPeer, type UpgradeOptions };
export { type Certificate, parseCertificate } from "./certificate.ts";
export type { Listener, ListenOptions } from "./listener.ts";

export const LISTENERS: Readonly<Record<"deno" | "node", Listen>> = {
  deno: listenDeno,
  // Loaded on demand: it imports node:http and a package.
  node: async (options, fetch) => await (await import("./node/listener.ts")).listenNode(options, fetch),
};
