/**
 * The packet codec, npm's `mqtt-packet`, loaded so that it needs no permission to read the whole environment: its
 * logger `debug` lists every variable when it loads on a server, and none when it takes the runtime for a browser.
 */
import "./packet_library_before.ts";
import { generate, parser } from "mqtt-packet";
import "./packet_library_after.ts";

export { generate, parser };
