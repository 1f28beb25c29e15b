import assert from "node:assert/strict";
import { formatTask } from "../../lib/base/task.ts";

Deno.test("Messages name tasks as whoever has only Node can type them", () => {
  const fromNpm = "/home/ann/.npm/_npx/05b6ef7b13673c57/node_modules/deno/deno";
  assert.equal(formatTask("serve", fromNpm), "npx -y deno task serve");
  assert.equal(
    formatTask("serve", "C:\\Users\\ann\\npm\\node_modules\\deno\\deno.exe"),
    "npx -y deno task serve",
  );
  assert.equal(formatTask("serve", "/usr/local/bin/deno"), "deno task serve");
});
