/**
 * NATS servers and nodes are killed without warning, and started again.
 *
 * `FAULT_ROUNDS=10` runs ten rounds of these five faults instead of one, and prints what it measured.
 */
import { NATS_SERVER } from "../nats_cluster.ts";
import { runFaults } from "./faults.ts";

const ROUNDS = Deno.env.get("FAULT_ROUNDS");

Deno.test({
  name:
    "Nothing acknowledged is lost, doubled or missed while NATS servers and nodes are killed (nats-server)",
  ignore: NATS_SERVER === undefined,
}, async () => {
  const figures = await runFaults({
    name: "kill",
    strike: async (server) => void await server.kill(),
    end: (server) => server.start(),
  }, Number(ROUNDS ?? 1));
  if (ROUNDS !== undefined) console.log(figures.text);
});
