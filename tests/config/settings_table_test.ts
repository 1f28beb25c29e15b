/** The manual's table of settings says what the server reads. */
import assert from "node:assert/strict";
import { CONFIGURATION_PAGE, fillSettings } from "../settings_table.ts";

Deno.test("The manual lists every setting as the server reads it: else run deno task docs", async () => {
  const page = await Deno.readTextFile(CONFIGURATION_PAGE);
  assert.equal(page, fillSettings(page));
});
