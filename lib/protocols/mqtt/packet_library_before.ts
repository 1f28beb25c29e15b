/** Makes the packages that load next take the runtime for a browser: see `packet_library.ts`. */
import process from "node:process";

Reflect.set(process, "browser", true);
