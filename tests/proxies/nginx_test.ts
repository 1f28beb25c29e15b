/** Runs a real nginx with the manual's configuration in front of a real server. */
import { join } from "node:path";
import { findFreePort, findProgram, type Proxy, startProxy, testProxy } from "./proxy_suite.ts";
import { readBlock, replaceAll } from "./manual.ts";

const program = await findNginx();

testProxy({
  name: "nginx",
  reason: program === undefined ? "there is no nginx on the PATH, and none could be installed" : undefined,
  start: startNginx,
});

async function startNginx(target: number): Promise<Proxy> {
  const folder = await Deno.makeTempDir();
  const port = findFreePort();
  const site = replaceAll(await readBlock("nginx"), {
    "listen 443 ssl;": `listen 127.0.0.1:${port};`,
    "  ssl_certificate     /etc/ssl/live.example.org.pem;\n": "",
    "  ssl_certificate_key /etc/ssl/live.example.org.key;\n": "",
    "127.0.0.1:8000": `127.0.0.1:${target}`,
  });
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) =>
    `${name}_temp_path ${folder}/${name};`
  );
  const file = join(folder, "nginx.conf");
  await Deno.writeTextFile(
    file,
    [
      `daemon off; master_process off; pid ${folder}/pid; error_log stderr;`,
      "events {}",
      `http { access_log off; ${paths.join(" ")}`,
      site,
      "}",
    ].join("\n"),
  );
  const proxy = await startProxy(program ?? "nginx", ["-p", folder, "-e", "stderr", "-c", file], port);
  return {
    port,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** nginx on this machine; where the tests run as root on Debian, it is installed. */
async function findNginx(): Promise<string | undefined> {
  const found = await findProgram("nginx");
  if (found !== undefined || Deno.build.os !== "linux" || Deno.uid() !== 0) return found;
  if (await findProgram("apt-get") === undefined) return undefined;
  console.log("No nginx found: installing Debian's package nginx-light with apt-get");
  for (const args of [["update"], ["install", "-y", "--no-install-recommends", "nginx-light"]]) {
    const command = new Deno.Command("apt-get", {
      args,
      // Debian would start the service at once.
      env: { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
      signal: AbortSignal.timeout(120_000),
      stdin: "null",
      stdout: "null",
      stderr: "null",
    });
    if (!(await command.output()).success) return undefined;
  }
  return await findProgram("nginx");
}
