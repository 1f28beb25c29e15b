/** The program on the page about embedding, run as it stands there but for its port and where it finds the package. */
import assert from "node:assert/strict";
import { join } from "node:path";

const PAGE = new URL("../static/docs/embed.md", import.meta.url);

async function readExample(): Promise<string> {
  const [, code] = /```ts\n([^]*?)```/.exec(await Deno.readTextFile(PAGE)) ?? [];
  assert.ok(code !== undefined && code.includes('"@raindrops/server"') && code.includes("port: 8000"));
  return code.replace('"@raindrops/server"', JSON.stringify(new URL("../lib/mod.ts", import.meta.url).href))
    .replace("port: 8000", "port: 0");
}

Deno.test("The example of static/docs/embed.md publishes from its code, serves WebSockets and stops on SIGINT", async () => {
  const folder = await Deno.makeTempDir({ prefix: "embed-" });
  try {
    const file = join(folder, "main.ts");
    await Deno.writeTextFile(file, await readExample());
    const config = new URL("../deno.json", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", "--no-check", "--config", config, file],
      cwd: folder,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    // Ends it where a check fails.
    await using _ending = { [Symbol.asyncDispose]: () => end(child) };
    const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!/:\d+\/?\s/.test(text)) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`The example ended before it listened:\n${text}`);
      text += value;
    }
    const port = /:(\d+)\/?\s/.exec(text)![1];
    const socket = new WebSocket(`ws://127.0.0.1:${port}/kitchen?since=earliest`);
    const message = Promise.withResolvers<unknown>();
    const closed = Promise.withResolvers<void>();
    socket.onmessage = ({ data }) => message.resolve(data);
    socket.onclose = () => closed.resolve();
    await new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = (event) => reject(new Error("No WebSocket was opened", { cause: event }));
    });
    const response = await fetch(`http://127.0.0.1:${port}/orders`, { method: "POST", body: '{"soup":2}' });
    assert.deepEqual([response.status, await response.text()], [201, "Thank you"]);
    assert.equal(await message.promise, '{"soup":2}');
    child.kill("SIGINT");
    await closed.promise;
    while (!(await reader.read()).done);
    assert.equal((await child.status).code, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function end(child: Deno.ChildProcess): Promise<void> {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended already.
  }
  await child.status;
}
