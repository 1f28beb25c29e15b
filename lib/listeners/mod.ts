/** The registry of listeners: `server.ts` picks one by name. */
import { listenDeno } from "./deno.ts";
import type { Listen } from "./listener.ts";

export { type Certificate, parseCertificate } from "./certificate.ts";
export type { Listener, ListenOptions } from "./listener.ts";

export const LISTENERS: Readonly<Record<"deno" | "node", Listen>> = {
  deno: listenDeno,
  // Loaded when chosen: it brings node:http and a package with it.
  node: async (options, fetch) => await (await import("./node/listener.ts")).listenNode(options, fetch),
};
