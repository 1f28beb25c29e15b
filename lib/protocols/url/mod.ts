/** Channels as URLs: GET reads, POST and PUT publish, DELETE clears. Takes every path that no other protocol has. */
import { Hono } from "hono";
import type { Env, Protocol, Services } from "../protocol.ts";
import { handleClear } from "./history.ts";
import { findPlainPath, handlePublish } from "./publish.ts";
import { handleRead } from "./read.ts";
import { handleCancel, handleScheduled } from "./scheduled.ts";

/** It has no settings but those that every protocol has. */
export const SETTINGS = {};

/** Opens the protocol, which is always on. */
export function open(services: Services): Protocol {
  const routes = new Hono<Env>();
  routes.get("/_scheduled", (c) => handleScheduled(c.req.raw, services));
  routes.delete("/_scheduled/:id", (c) => handleCancel(c.req.raw, c.req.param("id"), c.env.peer, services));
  routes.get("*", (c) => handleRead(c.req.raw, c.env.peer, services));
  routes.on(["POST", "PUT"], "*", (c) => handlePublish(c.req.raw, c.env.peer, services));
  routes.delete("*", (c) => handleClear(c.req.raw, services));
  // Not a route: hono calls a handler that is the only one for a request much faster than one of two.
  return {
    routes,
    direct(request, peer) {
      const pathname = findPlainPath(request);
      return pathname === undefined
        ? undefined
        : handlePublish(request, peer, services, { pathname, search: "" });
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
