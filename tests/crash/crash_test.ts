/** The promise of the whole house, over as many crashes as a test has time for. `deno task crash` runs more. */
import { runCrashes } from "./crashes.ts";

const CRASHES = 20;

Deno.test(`Nothing acknowledged is lost, doubled or missed over ${CRASHES} crashes`, async () => {
  await runCrashes(CRASHES);
});
