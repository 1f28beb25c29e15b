/** MQTT across crashes, on SQLite. */
import { killUnderLoad } from "./killing.ts";

Deno.test("MQTT: QoS 1 arrives at least once, QoS 2 exactly once, in order, across 20 kills", async () => {
  await killUnderLoad(20, (directory) => `sqlite:${directory}/log.db`);
});
