/** Takes back what `packet_library_before.ts` set. */
import process from "node:process";

Reflect.deleteProperty(process, "browser");
