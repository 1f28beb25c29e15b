/** Runs a real Caddy with the manual's configuration in front of a real server, where there is one. */
import { join } from "node:path";
import { findFreePort, findProgram, type Proxy, startProxy, testProxy } from "./proxy_suite.ts";
import { readBlock, replaceAll } from "./manual.ts";

const program = await findProgram("caddy");

testProxy({
  name: "Caddy",
  reason: program === undefined ? "there is no caddy on the PATH" : undefined,
  start: startCaddy,
});

async function startCaddy(target: number): Promise<Proxy> {
  const folder = await Deno.makeTempDir();
  const port = findFreePort();
  const site = replaceAll(await readBlock("caddyfile"), {
    "live.example.org {": `http://127.0.0.1:${port} {`,
    "127.0.0.1:8000": `127.0.0.1:${target}`,
  });
  const file = join(folder, "Caddyfile");
  await Deno.writeTextFile(file, `{\n\tadmin off\n\tstorage file_system ${folder}\n}\n${site}`);
  const proxy = await startProxy(
    program ?? "caddy",
    ["run", "--config", file, "--adapter", "caddyfile"],
    port,
  );
  return {
    port,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}
