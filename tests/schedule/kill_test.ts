/** Scheduled messages across crashes: the server is killed again and again while messages are scheduled and sent. */
import assert from "node:assert/strict";
import { startServer } from "../server_process.ts";
import { Planner, readTexts, untilNothingScheduled } from "./planner.ts";

const KILLS = 12;

Deno.test("Every scheduled message is published once although the server is killed 12 times", async () => {
  const directory = await Deno.makeTempDir();
  const rules = `${directory}/rules.json`;
  await Deno.writeTextFile(rules, JSON.stringify([{ channels: "**", history: { messages: 1_000_000 } }]));
  await using server = await startServer({
    flags: ["--engine", `sqlite:${directory}/log.db`, "--rules", rules, "--log-level", "warn"],
  });
  const planner = new Planner(["a", "b/1", "b/2"], () => server.url);
  for (let i = 0; i < KILLS; i++) {
    await planner.more(20 + 3 * i);
    await server.kill();
    await server.start();
  }
  await planner.more(20);
  await planner.stop();
  await untilNothingScheduled(server.url);
  planner.check(await readTexts(server.url, planner.channels));
  assert.ok(planner.confirmed.size > KILLS * 20);
  await Deno.remove(directory, { recursive: true });
});
