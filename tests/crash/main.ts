/** The `crash` task: `deno task crash [--kills N]` kills a server so often and says what became of its messages. */
import { parseArgs } from "node:util";
import { runCrashes } from "./crashes.ts";

const USAGE = "Usage: deno task crash [--kills N], with N from 1 to 100000, 1000 by default";

function parseKills(): number | undefined {
  try {
    const { values } = parseArgs({
      args: Deno.args,
      options: { kills: { type: "string", default: "1000" } },
    });
    return /^[1-9]\d{0,5}$/.test(values.kills) && Number(values.kills) <= 100_000
      ? Number(values.kills)
      : undefined;
  } catch {
    return undefined;
  }
}

const kills = parseKills();
if (kills === undefined) {
  console.error(USAGE);
  Deno.exit(2);
}
const { crashes, acknowledged, seconds } = await runCrashes(kills);
console.log(
  `${crashes} kills in ${seconds.toFixed(0)} s, ${
    (crashes / seconds * 60).toFixed(0)
  } a minute: all ${acknowledged} ` +
    "acknowledged messages are stored once, and no reader missed one",
);
