/** The attacks on the native listener. What the runtime lets pass no code of ours sees. */
import { testUnderAttack } from "./attack_suite.ts";

const NO_TIMEOUTS = "Deno.serve has no timeouts: the connection stays until the client leaves";
const NO_TERMINATE =
  "the runtime cannot drop a connection it waits to write to: it stays until the client leaves";

testUnderAttack({
  name: "The Deno listener",
  flags: ["--listener", "deno"],
  saysWhy: false,
  cannotStop: {
    "a message of fragments without an end":
      "the runtime collects fragments without a bound, and shows them to nobody",
    "unmasked frames": "the runtime accepts them, against RFC 6455 section 5.1",
    "connections that say nothing": NO_TIMEOUTS,
    "headers that never end": NO_TIMEOUTS,
    "headers sent a byte at a time": NO_TIMEOUTS,
    "bodies that stop in the middle and stay": NO_TIMEOUTS,
    "connections kept alive for nothing": NO_TIMEOUTS,
    "sockets that stall and stay": NO_TERMINATE,
    "streams that stall and stay": NO_TERMINATE,
    "downloads that stall and stay": NO_TERMINATE,
  },
});
