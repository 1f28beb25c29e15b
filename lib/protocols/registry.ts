/** The protocols there are, one line each. `mod.ts` puts them in order. */
export { openCentrifuge } from "./centrifuge/mod.ts";
export { openUrls } from "./url/mod.ts";
