/** The protocols there are, one line each: a folder whose `mod.ts` exports `open` and `SETTINGS`. */
export * as centrifuge from "./centrifuge/mod.ts";
export * as pusher from "./pusher/mod.ts";
export * as mqtt from "./mqtt/mod.ts";
export * as urls from "./url/mod.ts";
