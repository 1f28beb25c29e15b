/** The version of the program, as `deno.json` states it: `--version`, metrics, the HTTP API and protocols tell it. */
import manifest from "../../deno.json" with { type: "json" };

/** Such as `0.2.0` (semver.org). */
export const VERSION: string = manifest.version;
