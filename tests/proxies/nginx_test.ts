/** Runs a real nginx with the manual's configuration in front of a real server. */
import { join } from "node:path";
import { installMissing } from "../debian.ts";
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
  await installMissing({ nginx: "nginx-light" });
  return await findProgram("nginx");
}
