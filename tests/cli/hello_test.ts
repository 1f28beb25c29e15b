/** The terminal client where nothing answers as it should: it says why and what to do, and goes on trying. */
import assert from "node:assert/strict";

const HELLO = new URL("../../lib/cli/hello.ts", import.meta.url).href;

/** The first line that it prints as an error. */
async function readComplaint(url: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--no-prompt", "--allow-net", HELLO, url],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let printed = "";
  while (!printed.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) break;
    printed += value;
  }
  child.kill("SIGTERM");
  await child.status;
  await reader.cancel();
  return printed.split("\n")[0] ?? "";
}

Deno.test("deno task hello says that no server answers, why, and how to start one", async () => {
  const port = (() => {
    using free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    return free.addr.port;
  })();
  const said = await readComplaint(`ws://127.0.0.1:${port}/hello`);
  assert.match(
    said,
    /^No server answers at ws:\S+ \(tcp connect error\): start one with .*deno task start, or name/,
  );
});

Deno.test("deno task hello says that what answers refuses the WebSocket", async () => {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response("no", { status: 401 }),
  );
  const said = await readComplaint(`ws://127.0.0.1:${server.addr.port}/hello`);
  assert.match(said, /refuses the WebSocket \(Invalid status code: 401\): it may need a token/);
});
