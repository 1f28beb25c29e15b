/** The program with workers: its flags, its permissions, and what it says when it cannot start. */
import assert from "node:assert/strict";
import { exportJWK, exportSPKI, generateKeyPair } from "jose";
import { parseConfig } from "../../lib/config/config.ts";
import { countWorkers } from "../../lib/workers/mod.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";
import { createCertificate } from "../certificate.ts";
import { startServer } from "../server_process.ts";
import { createConfig } from "../test_app.ts";

const { tasks } = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));

/** The permissions of `deno task start`. */
const PERMISSIONS: string[] = tasks.start.command.split(" ").filter((word: string) =>
  /^--(allow|no-prompt)/.test(word)
);

Deno.test("--workers takes a number or auto, and nothing else", () => {
  const read = (text: string) => parseConfig([`--workers=${text}`], {});
  for (const [text, value] of [["1", 1], ["16", 16], ["256", 256], ["auto", "auto"]]) {
    const config = read(String(text));
    assert.ok(typeof config !== "string");
    assert.equal(config.workers, value);
  }
  for (const text of ["0", "257", "-1", "1.5", "two", "", " 2", "1e1"]) {
    assert.throws(
      () => read(text),
      (error) => error instanceof SyntaxError && /--workers: .*from 1 to 256, or auto/.test(error.message),
      text,
    );
  }
});

Deno.test("countWorkers() runs one worker for each core when asked for auto, and says where threads cannot share a port", () => {
  const logger = new RecordingLogger();
  const isLinux = Deno.build.os === "linux";
  assert.equal(countWorkers(createConfig("--workers", "1"), logger), 1);
  assert.equal(
    countWorkers(createConfig("--workers", "auto"), logger),
    isLinux ? navigator.hardwareConcurrency : 1,
  );
  assert.equal(logger.entries.length, 0);
  assert.equal(countWorkers(createConfig("--workers", "8"), logger, "darwin"), 1);
  assert.match(logger.entries[0]!.event, /^One worker instead of 8: threads cannot share a port on darwin/);
});

Deno.test("The program serves with workers under the permissions of deno task start, and drains", async () => {
  await using server = await startServer({ flags: ["--workers", "2"], permissions: PERMISSIONS });
  const response = await fetch(`${server.url}/news`, { method: "POST", body: "rain" });
  assert.equal((await response.json()).offset, 1);
  assert.match(await (await fetch(`${server.url}/metrics`)).text(), /^raindrops_workers 2$/m);
  const status = await server.stop();
  assert.equal(status?.code, 0);
  assert.equal(server.lines.at(-1), "stopped");
  assert.equal(server.lines.filter((line) => line.includes("message received: rain")).length, 1);
});

Deno.test("The program says which permission workers lack", async () => {
  const permissions = PERMISSIONS.map((flag) => flag.replace(/^--allow-read=.*/, "--allow-read=static,data"));
  await assert.rejects(
    startServer({ flags: ["--workers", "2"], permissions }),
    /Workers read the server's sources.*deno task start.*--allow-read=\S*lib.*or use --workers 1/,
  );
});

Deno.test("A second server with workers does not slip onto a port that is taken", async () => {
  await using server = await startServer({ flags: ["--workers", "2"] });
  const taken = { port: server.port, flags: ["--workers", "2"] };
  await assert.rejects(startServer(taken), /Port \d+ on 127\.0\.0\.1 is in use: choose another with --port/);
  await assert.rejects(startServer({ port: server.port }), /is in use/);
});

Deno.test("A settings file is read once, also one that gives its text once only", async () => {
  const folder = await Deno.makeTempDir({ prefix: "workers-" });
  const { publicKey } = await generateKeyPair("ES256", { extractable: true });
  try {
    const texts = {
      "--rules": '[{ "channels": "news", "history": { "messages": 7 } }]',
      "--pusher-apps": '[{ "id": "app1", "key": "key1", "secret": "secret-of-app-1" }]',
      "--hooks": '{ "webhooks": [] }',
      "--token-jwks": JSON.stringify({ keys: [await exportJWK(publicKey)] }),
      "--token-key": await exportSPKI(publicKey),
    };
    const pipes = Object.entries(texts).map(([flag, text]) => ({ flag, path: `${folder}/${flag}`, text }));
    await new Deno.Command("mkfifo", { args: pipes.map(({ path }) => path) }).output();
    const flags = ["--workers", "2", ...pipes.flatMap(({ flag, path }) => [flag, path])];
    const [server] = await Promise.all([
      startServer({ flags }),
      ...pipes.map(({ path, text }) => Deno.writeTextFile(path, text, { create: false })),
    ]);
    await using _server = server;
    assert.equal(await (await fetch(`${server.url}/healthz`)).text(), "alive\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("What concerns all workers is said once", async () => {
  await using certificate = await createCertificate(new Date("2021-01-01"));
  const flags = ["--workers", "3", "--mqtt-port", "0", ...certificate.flags];
  await using server = await startServer({ flags });
  for (const event of [/certificate of --cert has expired/, /listening for mqtt/, /is live/]) {
    assert.equal(server.lines.filter((line) => event.test(line)).length, 1, `${event}`);
  }
});

Deno.test("A settings file that does not parse is told as without workers", async () => {
  const folder = await Deno.makeTempDir({ prefix: "workers-" });
  try {
    const file = `${folder}/rules.json`;
    await Deno.writeTextFile(file, "{ not JSON");
    await assert.rejects(
      startServer({ flags: ["--workers", "2", "--rules", file] }),
      /Rules file .*rules\.json/,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
