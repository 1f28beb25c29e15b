/**
 * NATS servers and nodes stand still, and go on as if nothing had been: SIGSTOP and SIGCONT. A frozen server holds its
 * connections, and what was sent to it and by it arrives late.
 *
 * `deno task freeze` runs ten rounds of these five faults instead of one, and prints what was measured. Some last long
 * enough for others to take over all that the frozen one had.
 */
import { NATS_SERVER } from "../nats_cluster.ts";
import { runFaults } from "./faults.ts";

const ROUNDS = Deno.env.get("FREEZE_ROUNDS");
/** How long one stands still, in milliseconds: longer than a node waits for a word of a server or of a node. */
const SHORT = 3_200;
const LONG = 14_000;

Deno.test({
  name:
    "Nothing acknowledged is lost, doubled or missed while NATS servers and nodes are frozen (nats-server)",
  ignore: NATS_SERVER === undefined,
}, async () => {
  let number = 0;
  const figures = await runFaults({
    name: "freeze",
    mayBeOfNats: true,
    async strike(server) {
      server.signal("SIGSTOP");
      const milliseconds = number++ % 3 === 2 ? LONG : SHORT;
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
    },
    end(server) {
      server.signal("SIGCONT");
      return Promise.resolve();
    },
  }, Number(ROUNDS ?? 1));
  if (ROUNDS !== undefined || figures.isOfNats) console.log(figures.text);
});
