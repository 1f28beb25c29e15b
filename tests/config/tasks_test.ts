/** The tasks of deno.json: none may wait at a permission prompt, which a terminal would show instead of the error. */
import assert from "node:assert/strict";

const manifest = new URL("../../deno.json", import.meta.url);
const { tasks }: { tasks: Record<string, string | { readonly command: string }> } = JSON.parse(
  await Deno.readTextFile(manifest),
);

for (const [name, task] of Object.entries(tasks)) {
  const command = typeof task === "string" ? task : task.command;
  for (const [run] of command.matchAll(/deno run [^&|]*/g)) {
    Deno.test(`deno task ${name} fails with an error, not at a prompt: ${run.slice(0, 40)}`, () => {
      assert.match(run, /^deno run --no-prompt /);
    });
  }
}
