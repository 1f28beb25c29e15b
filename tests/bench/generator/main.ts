/**
 * The load generator: a process of its own that does one job, given as JSON by its argument, and prints the result as
 * JSON. Fails with what went wrong when anything does not arrive as it should.
 */
import { mixChannels } from "./channels.ts";
import { countConnects, weighIdle } from "./connections.ts";
import { fanOut } from "./fan_out.ts";
import type { Job, Results } from "./job.ts";
import { measureLatency } from "./latency.ts";
import { Poller } from "./poller.ts";
import { post } from "./post.ts";

function run(job: Job): Results[Job["kind"]] {
  const poller = new Poller();
  switch (job.kind) {
    case "fan-out":
      return fanOut(poller, job);
    case "post":
      return post(poller, job);
    case "channels":
      return mixChannels(poller, job);
    case "connect":
      return countConnects(poller, job);
    case "idle":
      return weighIdle(poller, job);
    case "latency":
      return measureLatency(poller, job);
  }
}

try {
  console.log(JSON.stringify(run(JSON.parse(Deno.args[0] ?? "{}"))));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  Deno.exit(1);
}
