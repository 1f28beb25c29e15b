/** Starts the server with the permissions that the manual's systemd unit gives it, and has systemd look at the unit. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { startServer } from "../server_process.ts";
import { findFreePort, findProgram } from "./proxy_suite.ts";
import { readBlock, replaceAll } from "./manual.ts";

const analyzer = await findProgram("systemd-analyze");

/** The permission flags of the unit, for another port and directory. */
async function readPermissions(port: number, folder: string): Promise<string[]> {
  const unit = replaceAll(await readBlock("ini"), {
    "127.0.0.1:8000": `127.0.0.1:${port}`,
    "/var/lib/raindrops": folder,
  });
  const command = /^ExecStart=\S+ run (.*) server\.ts$/m.exec(unit)?.[1] ?? "";
  // The test's server is started from elsewhere.
  const source = new URL("../../", import.meta.url).pathname;
  return command.replace("--allow-read=static", `--allow-read=${source}static`).split(" ");
}

Deno.test("The unit's permissions are enough to serve, store, back up, stop and start again", async () => {
  const folder = await Deno.makeTempDir();
  const port = findFreePort();
  const permissions = await readPermissions(port, folder);
  assert.ok(permissions.length >= 7 && !permissions.includes("--allow-all"));
  const flags = ["--engine", `sqlite:${join(folder, "raindrops.db")}`];
  for (const listener of ["deno", "node"]) {
    await using server = await startServer({ port, permissions, flags: [...flags, "--listener", listener] });
    const response = await fetch(`${server.url}/news`, { method: "POST", body: listener });
    assert.equal(response.status, 200);
    await response.body?.cancel();
    const page = await fetch(`${server.url}/`, { headers: { accept: "text/html" } });
    assert.match(await page.text(), /<html/);
    const backup = await fetch(`${server.url}/api/backup`);
    assert.match(new TextDecoder("latin1").decode(await backup.bytes()), /^SQLite format 3/);
    assert.equal((await server.stop())?.code, 0);
    assert.deepEqual(server.lines.filter((line) => /^(?:warn|error)/.test(line)), []);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test({
  name: "systemd finds nothing wrong with the unit" +
    (analyzer === undefined ? " (skipped: there is no systemd-analyze)" : ""),
  ignore: analyzer === undefined,
  async fn() {
    const folder = await Deno.makeTempDir();
    const file = join(folder, "raindrops.service");
    await Deno.writeTextFile(
      file,
      replaceAll(await readBlock("ini"), { "/usr/local/bin/deno": "/bin/true", "/opt/raindrops": folder }),
    );
    const { stdout, stderr, success } = await new Deno.Command(analyzer ?? "", { args: ["verify", file] })
      .output();
    const decoder = new TextDecoder();
    const said = (decoder.decode(stdout) + decoder.decode(stderr)).split("\n");
    // It looks at units of the machine, too.
    assert.deepEqual(said.filter((line) => line.includes("raindrops")), []);
    assert.ok(success || said.every((line) => !line.includes(folder)), said.join("\n"));
    await Deno.remove(folder, { recursive: true });
  },
});
