/** Tests `GET /api/backup` and the `backup` task against the real server. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { startServer } from "../server_process.ts";
import { startApp } from "../test_app.ts";

const KEY = "a-long-key-that-nobody-guesses";
const TASK = new URL("../../lib/cli/backup.ts", import.meta.url).href;

async function runTask(args: readonly string[], key: string): Promise<{ code: number; said: string }> {
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-all", TASK, ...args],
    env: { RAINDROPS_API_KEYS: key, NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code: output.code, said: decoder.decode(output.stdout) + decoder.decode(output.stderr) };
}

async function post(url: string, body: string): Promise<{ id: string; offset: number }> {
  const response = await fetch(url, { method: "POST", body });
  assert.equal(response.status, 200);
  return await response.json();
}

Deno.test("The backup of a server under load, started again, has all that was acknowledged, and says where it ends", async () => {
  const folder = await Deno.makeTempDir();
  const [log, copy] = [join(folder, "raindrops.db"), join(folder, "backup.db")];
  const server = await startServer({
    flags: ["--engine", `sqlite:${log}`],
    env: { RAINDROPS_API_KEYS: KEY },
  });
  const url = `${server.url}/news`;
  const before: string[] = [];
  for (let i = 0; i < 200; i++) before.push((await post(url, `before ${i}`)).id);

  let running = true;
  const publish = async () => {
    let last;
    for (let i = 0; running; i++) last = await post(url, `during ${i}`);
    return last!;
  };
  const publishing = publish();
  const { code, said } = await runTask([copy, server.url], KEY);
  running = false;
  const last = await publishing;
  assert.equal(code, 0, said);
  assert.match(said, /backup\.db: \d+ bytes\n$/);
  await server.stop();

  // Restoring as the manual says: the old file and what is beside it go, the copy takes its place.
  await Deno.remove(log);
  await Deno.rename(copy, log);
  await server.start();
  const read = async (since: string) => {
    const response = await fetch(`${url}?since=${since}`, { headers: { accept: "application/json" } });
    return await response.json();
  };
  const { messages } = await read("earliest");
  assert.deepEqual(
    messages.slice(0, 200).map(({ offset, data }: { offset: number; data: string }) => [offset, data]),
    before.map((_, i) => [i + 1, `before ${i}`]),
  );
  const page = await read(last.id);
  assert.equal(page.gap !== undefined, true, "who knows later messages is told of a gap");
  assert.equal((await post(url, "after")).offset, messages.length + 1);
  await server.stop();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("GET /api/backup wants a key, and a log that has a file", async () => {
  await using server = await startApp(`RAINDROPS_API_KEYS=${KEY}`);
  const ask = async (headers: Record<string, string>) => {
    const response = await fetch(`${server.url}/api/backup`, { headers });
    return { status: response.status, problem: await response.json() };
  };
  assert.equal((await ask({})).status, 401);
  assert.equal((await ask({ "x-api-key": "no" })).status, 401);
  const { status, problem } = await ask({ "x-api-key": KEY });
  assert.equal(status, 404);
  assert.match(problem.detail, /--engine sqlite:PATH/);
});

Deno.test("The backup task says in one line what is wrong, and leaves no half of a copy", async () => {
  const folder = await Deno.makeTempDir();
  await using server = await startApp(`RAINDROPS_API_KEYS=${KEY}`);
  const file = join(folder, "backup.db");
  const refused = await runTask([file, server.url], "wrong");
  assert.equal(refused.code, 1);
  assert.match(refused.said, /^The server refuses with 401: The API key is unknown.*\n$/);
  const lost = await runTask([file, "http://127.0.0.1:9"], KEY);
  assert.equal(lost.code, 1);
  assert.match(lost.said, /^No server answers at http:\/\/127\.0\.0\.1:9\/api\/backup: .*\n$/);
  assert.equal((await runTask([], KEY)).code, 2);
  assert.deepEqual([...Deno.readDirSync(folder)], []);
  await Deno.remove(folder, { recursive: true });
});
