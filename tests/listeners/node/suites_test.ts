/** Everything that protocols and HTTP promise, over the node listener too: their test files, run once more over it. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const FOLDERS = ["protocols", "http", "api", "inspect", "pages"];
const FILES = [
  "auth/gate_test.ts",
  "auth/openness_test.ts",
  "auth/origins_test.ts",
  "observe/health_test.ts",
];

Deno.test("node listener: every test of the protocols and of HTTP passes over it", async () => {
  const files = [...FOLDERS, ...FILES].map((path) =>
    fileURLToPath(new URL(`../../${path}`, import.meta.url))
  );
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    // Most of it waits for timeouts: side by side it takes a bit more than half as long.
    args: ["test", "--allow-all", "--no-check", "--parallel", "--reporter", "dot", ...files],
    env: { RAINDROPS_LISTENER: "node", NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  const printed = decoder.decode(stdout) + decoder.decode(stderr);
  assert.ok(success, printed);
  assert.ok(Number(/ok \| (\d+) passed/.exec(printed)?.[1]) > 300, printed);
});
