/** Runs the commands of static/docs/tokens.md, as they stand there but for the server's address. */
import assert from "node:assert/strict";
import { openShell, readBlock } from "./manual_blocks.ts";
import { startApp } from "./test_app.ts";

const PAGE = "tokens.md";

Deno.test("The page's commands for a key print it, start a server with it, and use it", async () => {
  await using shell = await openShell();
  const start = await readBlock(PAGE, "deno task start", "sh");
  const [making, starting] = start.split("RAINDROPS_API_KEYS=");
  assert.equal(starting, "$KEY npx -y deno task start\n");
  const key = (await shell.run(making!)).output.trimEnd();
  assert.match(key, /^[\w+/=]{44}$/);
  await using server = await startApp(`RAINDROPS_API_KEYS=${key}`);
  const request = (await readBlock(PAGE, "export KEY=...", "sh")).replace("...", `'${key}'`)
    .replaceAll("localhost:8000", `127.0.0.1:${server.port}`).replaceAll("curl ", "curl -sf ");
  const { code, output } = await shell.run(request);
  assert.equal(code, 0);
  assert.match(output, /"nodes".*"channel":"news"/s);
  const denied = await shell.run(request.replace(key, "another key of 16"));
  assert.notEqual(denied.code, 0, "the request needs the key");
});

Deno.test("The page's commands make a token, alone in its file, and explain it", async () => {
  await using shell = await openShell();
  const { code, output, errors } = await shell.run(await readBlock(PAGE, "explain --on", "sh"));
  assert.equal(code, 0, output + errors);
  assert.match(await Deno.readTextFile(`${shell.folder}/token.txt`), /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  assert.match(output, /subscribe/);
});
