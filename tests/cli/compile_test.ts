/** The executable of `deno task compile`: built once, started with an empty home, no cache and no network to fetch from. */
import assert from "node:assert/strict";
import { join } from "node:path";

const ROOT = new URL("../../", import.meta.url);

Deno.test("The executable starts with an empty home and no cache, serves pages and keeps messages where it is told", async () => {
  const folder = await Deno.makeTempDir({ prefix: "compiled-" });
  try {
    const file = join(folder, "raindrops");
    const built = await new Deno.Command(Deno.execPath(), { args: ["task", "compile", file], cwd: ROOT })
      .output();
    assert.ok(built.success, new TextDecoder().decode(built.stderr));
    for (const attempt of ["unpacks itself", "finds itself unpacked"]) {
      await using server = await start(file, folder);
      const response = await fetch(`${server.url}/news`, { method: "POST", body: attempt });
      assert.equal(response.status, 200);
      await response.body?.cancel();
      const page = await fetch(server.url, { headers: { accept: "text/html" } });
      assert.match(await page.text(), /<script type="module" src="\/_static\/[0-9a-f]{12}\/home\.ts"/);
    }
    const unpacked = await Array.fromAsync(Deno.readDir(join(folder, ".cache/raindrops")));
    assert.equal(unpacked.length, 1, "nothing half unpacked stays behind");
    assert.ok((await Deno.stat(join(folder, "data/raindrops.db"))).isFile);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Starts the executable with nothing but a home and the usual programs. */
async function start(file: string, home: string) {
  const child = new Deno.Command(file, {
    args: ["--port", "0"],
    cwd: home,
    clearEnv: true,
    // A proxy that nobody runs: whoever wanted to fetch something would fail.
    env: { HOME: home, PATH: "/usr/bin:/bin", HTTPS_PROXY: "http://127.0.0.1:9" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let url: string | undefined;
  while (url === undefined) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`The executable ended before it was up:\n${text}`);
    text += value;
    url = /(http:\/\/127\.0\.0\.1:\d+)\/\n/.exec(text)?.[1];
  }
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      while (!(await reader.read()).done);
      await child.status;
    },
  };
}
