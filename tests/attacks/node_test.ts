/** The attacks on the listener for the open internet. */
import { testUnderAttack } from "./attack_suite.ts";

testUnderAttack({ name: "The node listener", flags: ["--listener", "node"], saysWhy: true, cannotStop: {} });
