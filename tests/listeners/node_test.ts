/** The listener suite over `node:http` and `ws`. */
import { testListener } from "../suites/listener_suite.ts";

testListener({ name: "node listener", flags: ["--listener", "node"], cannotRefuse: {}, canTerminate: true });
