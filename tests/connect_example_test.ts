/** Runs the complete example of static/docs/connect.md, as it stands there but for the ports. */
import assert from "node:assert/strict";
import "./express_packages.ts";
import { openShell, readBlock, readBlocks } from "./manual_blocks.ts";
import { startApp } from "./test_app.ts";

const PAGE = "connect.md";
const CONFIG = new URL("imports.json", import.meta.url).pathname;
const LOCK = new URL("deno.lock", import.meta.url).pathname;
const MANIFEST = new URL("../deno.json", import.meta.url).pathname;

/** Starts the page's app, with the packages of the tests. */
async function startExpress(
  folder: string,
  port: number,
  env: Record<string, string>,
): Promise<Deno.ChildProcess> {
  await Deno.writeTextFile(`${folder}/app.mjs`, await readBlock(PAGE, "// app.mjs"));
  const flags = [
    "--no-check",
    `--config=${MANIFEST}`,
    "--allow-all",
    `--import-map=${CONFIG}`,
    `--lock=${LOCK}`,
    "--frozen",
  ];
  return new Deno.Command(Deno.execPath(), {
    args: ["run", ...flags, `${folder}/app.mjs`],
    env: { PORT: String(port), ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

function findFreePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

Deno.test("In the page's example Ann reads and writes what its rules, hooks and app say, and nobody else does", async () => {
  await using shell = await openShell();
  const port = findFreePort();
  await using express = await startExpress(shell.folder, port, { SESSION_SECRET: "s3cret" });
  const lines = express.stdout.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await lines.read()).value, "ready\n");
  for (const [name, text] of [["rules.json", '"chat/*", "allow"'], ["hooks.json", '"publish"']] as const) {
    const json = await readBlock(PAGE, text, "json");
    await Deno.writeTextFile(`${shell.folder}/${name}`, json.replaceAll(":3000/", `:${port}/`));
  }
  await using server = await startApp(
    "--rules",
    `${shell.folder}/rules.json`,
    "--hooks",
    `${shell.folder}/hooks.json`,
  );
  const commands = (await readBlock(PAGE, "curl -c ann.txt")).trimEnd().split("\n");
  const answers: string[] = [];
  for (const command of commands) {
    const { output } = await shell.run(
      command.replace(":3000/", `:${port}/`).replace(":8000/", `:${server.port}/`),
    );
    answers.push(output);
  }
  const [login, toChat, chat, toOwn, own, foreign, nobody] = answers;
  assert.equal(login, "");
  for (const receipt of [toChat, toOwn]) assert.equal(JSON.parse(receipt!).offset, 1);
  for (const [document, text] of [[chat, "it rains"], [own, "only mine"]] as const) {
    const [{ data, from }] = JSON.parse(document!).messages;
    assert.deepEqual([data, from.user, from.info], [{ by: "ann", text }, "ann", { name: "ann" }]);
  }
  const problems = [[foreign, "403: not yours"], [nobody, "403: log in first"]] as const;
  for (const [problem, expected] of problems) {
    const { status, detail } = JSON.parse(problem!) as { status: number; detail: string };
    assert.ok(`${status}: ${detail}`.startsWith(expected), problem ?? "");
    assert.ok(commands.some((command) => command.endsWith(` # ${expected}`)), expected);
  }
  express.kill();
  await Promise.all([lines.cancel(), express.stderr.cancel()]);
});

Deno.test("The page's app says which variables it lacks", async () => {
  await using shell = await openShell();
  await using express = await startExpress(shell.folder, 0, { SESSION_SECRET: "" });
  const { code, stderr } = await express.output();
  assert.notEqual(code, 0);
  assert.match(new TextDecoder().decode(stderr), /Set PORT and SESSION_SECRET/);
});

Deno.test("The page installs the packages that its app imports, and starts it with the variables that it reads", async () => {
  const app = await readBlock(PAGE, "// app.mjs");
  const packages = [...app.matchAll(/ from "([^"]+)"/g)].map(([, name]) => name);
  const commands = await readBlock(PAGE, "npm install", "sh");
  assert.deepEqual(/^npm install (.*)$/m.exec(commands)?.[1]?.split(" "), packages);
  assert.match(commands, /^PORT=3000 SESSION_SECRET=\S.* node app\.mjs$/m);
  const start = (await readBlocks(PAGE, "sh")).filter((block) => block.includes("--hooks data/hooks.json"));
  assert.match(start.join(), /^npx -y deno task start --rules data\/rules\.json --hooks data\/hooks\.json$/m);
});
