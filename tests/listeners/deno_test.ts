/** The listener suite over the native listener. */
import { testListener } from "../suites/listener_suite.ts";

testListener({
  name: "Deno listener",
  flags: [],
  cannotRefuse: {
    "an unmasked frame": "the runtime accepts unmasked client frames, against RFC 6455 section 5.1",
  },
  canTerminate: false,
});
