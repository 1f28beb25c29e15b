/** Web Push: stored messages for browsers whose pages are closed. `app.ts` opens it, `config/` reads its settings. */
export { openPush, Pushes } from "./pushes.ts";
export { createPushRoutes } from "./routes.ts";
export { PUSH_SETTINGS } from "./settings.ts";
