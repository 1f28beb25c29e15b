/** The program as its users start and stop it: flags, exit status, log lines, draining. Real child processes. */
import assert from "node:assert/strict";
import { VERSION } from "../lib/config/version.ts";
import { mayMount, mountTemporary } from "./engines/sqlite/mount.ts";
import { type ServerProcess, startServer } from "./server_process.ts";
import { RawSocket } from "./raw_socket.ts";
import config from "../deno.json" with { type: "json" };
import { TestSocket } from "./test_socket.ts";

const SERVER = new URL("../server.ts", import.meta.url).href;

async function run(...flags: string[]): Promise<{ code: number; output: string; errors: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-check", SERVER, ...flags],
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

/** The permission flags of a task. */
function readPermissions(task: "start" | "serve"): string[] {
  return config.tasks[task].command.split(" ").filter((part) => part.startsWith("--"));
}

/** Opens a WebSocket that never reads, and publishes until the server holds data it cannot get rid of. */
async function stallReader(server: ServerProcess): Promise<Disposable> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const handshake =
    "GET /stalled HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  await connection.write(new TextEncoder().encode(handshake));
  await server.line(/client connected .*channel=stalled/);
  const body = "x".repeat(60_000);
  // More than the kernel's buffers on both ends take.
  for (let i = 0; i < 300; i++) {
    const response = await fetch(`${server.url}/stalled`, { method: "POST", body });
    await response.body?.cancel();
  }
  return { [Symbol.dispose]: () => connection.close() };
}

Deno.test("A line that the log never has fails with the log, rather than wait for ever", async () => {
  await using server = await startServer();
  await assert.rejects(server.line(/^no such line$/, 50), /No line of the log matches [^]*Raindrops is live/);
});

Deno.test("--help lists the flags on standard output and exits 0", async () => {
  const { code, output, errors } = await run("--help");
  assert.equal(code, 0);
  assert.match(output, /--port N +PORT/);
  assert.equal(errors, "");
});

Deno.test("--version prints the version of deno.json and exits 0", async () => {
  const { code, output, errors } = await run("--version");
  assert.deepEqual([code, output, errors], [0, `raindrops ${VERSION}\n`, ""]);
});

Deno.test("A former name of a setting is refused with the one it has now, and exit status 2", async () => {
  const { code, output, errors } = await run("--log", "memory:");
  assert.deepEqual([code, output], [2, ""]);
  assert.match(errors, /^--log is called --engine now[^\n]*\n$/);
});

Deno.test("A bad flag or value is one clear line and exit status 2", async () => {
  for (
    const flags of [["--prot", "1"], ["--port", "none"], ["--engine", "redis:"], ["--listener", "nod"]]
  ) {
    const { code, output, errors } = await run(...flags);
    assert.equal(code, 2, errors);
    assert.equal(output, "");
    assert.match(errors, new RegExp(`^[^\n]*${flags[0]}[^\n]*\n$`));
  }
});

Deno.test("A misspelt flag is answered with the one that was probably meant", async () => {
  const { errors } = await run("--max-mesage-bytes", "1");
  assert.match(errors, /'--max-mesage-bytes': did you mean --max-message-bytes\? --help lists the flags\n$/);
  assert.match((await run("--colour", "blue")).errors, /'--colour': --help lists the flags\n$/);
});

Deno.test("What the log says of an engine that is away has no names of classes", async () => {
  const free = (() => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    return listener.addr.port;
  })();
  await using server = await startServer({ flags: ["--engine", `nats://127.0.0.1:${free}`] });
  const line = await server.line(/sessions cannot be read/);
  assert.match(line, /reason="Cannot list/);
  assert.deepEqual(server.lines.filter((line) => /[a-z]Error: /.test(line)), []);
});

Deno.test("Beyond loopback a server without a key ends with one clear line and exit status 2, and starts with --open", async () => {
  const { code, output, errors } = await run("--host", "0.0.0.0", "--port", "0", "--engine", "memory:");
  assert.deepEqual([code, output], [2, ""]);
  assert.match(errors, /^Listening on 0\.0\.0\.0, beyond this machine, takes a key: [^\n]*--open\n$/);
  for (const flags of [["--open"], []]) {
    const env: Record<string, string> = flags.length > 0
      ? {}
      : { RAINDROPS_API_KEYS: "key-0123456789abcdef" };
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...[
          "run",
          "--allow-all",
          "--no-check",
          SERVER,
          "--host",
          "0.0.0.0",
          "--port",
          "0",
          "--engine",
          "memory:",
        ],
        ...flags,
      ],
      env,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let printed = "";
    while (!printed.includes("Try:")) printed += (await reader.read()).value ?? "Try: (ended)";
    const warning =
      /^warn: Everybody who reaches 0\.0\.0\.0 may read and publish everything, as --open says$/m;
    assert.equal(warning.test(printed), flags.length > 0, printed);
    const url = /http:\/\/\S+/.exec(printed)?.[0] ?? "";
    const response = await fetch(`${url}news`, { method: "POST", body: "it rains" });
    await response.body?.cancel();
    assert.equal(response.status, flags.length > 0 ? 200 : 401);
    child.kill("SIGTERM");
    await child.status;
    await reader.cancel();
  }
});

Deno.test("A port in use is one clear line and exit status 1", async () => {
  await using server = await startServer();
  const { code, errors } = await run("--engine", "memory:", "--port", String(server.port));
  assert.equal(code, 1);
  assert.match(
    errors,
    new RegExp(`^error: Port ${server.port} on 127\\.0\\.0\\.1 is in use: [^\n]*--port 0[^\n]*\n$`),
  );
});

Deno.test("The start task's permissions are named, and enough to publish to a log in ./data", async () => {
  const name = `data/test-${crypto.randomUUID()}.db`;
  const permissions = readPermissions("start");
  assert.ok(
    permissions.every((flag) => /^--(no-prompt$|allow-(net|env|read|write|sys)=.)/.test(flag)),
    permissions.join(" "),
  );
  try {
    await using server = await startServer({ flags: ["--engine", `sqlite:./${name}`], permissions });
    for (const offset of [1, 2]) {
      const response = await fetch(`${server.url}/news`, { method: "POST", body: "it rains" });
      assert.equal((await response.json()).offset, offset);
      await server.kill();
      await server.start();
    }
    assert.ok(!server.lines.some((line) => line.startsWith("warn")), server.lines.join("\n"));
  } finally {
    for (const suffix of ["", "-wal", "-shm"]) {
      await Deno.remove(new URL(`../${name}${suffix}`, import.meta.url)).catch(() => {});
    }
  }
});

/** Addresses and proxies, and the listener that serves: the node listener alone refuses a request without Host. */
const CHOICES: readonly [readonly string[], "deno" | "node"][] = [
  [[], "deno"],
  [["--listener", "auto"], "deno"],
  [["--host", "0.0.0.0", "--open"], "node"],
  [["--trusted-proxy", "10.0.0.0/8", "--open"], "node"],
  [["--host", "0.0.0.0", "--open", "--listener", "deno"], "deno"],
  [["--listener", "node"], "node"],
];

for (const [flags, expected] of CHOICES) {
  Deno.test(`The ${expected} listener serves with ${flags.join(" ") || "no flags"}, without a warning`, async () => {
    await using server = await startServer({ flags });
    // The listeners answer a request without Host each in their own way.
    using socket = await RawSocket.open(server.port);
    await socket.write("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n");
    const answer = await socket.readToEnd();
    assert.equal(answer.startsWith("HTTP/1.1 400 "), expected === "node", answer);
    const told = server.lines.filter((line) => line.includes("listener"));
    assert.deepEqual(told, [`listening port=${server.port} listener=${expected}`]);
  });
}

Deno.test("A second start in a folder names a file with which a second server starts, permissions included", async () => {
  const permissions = readPermissions("start");
  const folder = `data/test-${crypto.randomUUID()}`;
  try {
    const flags = ["--engine", `sqlite:./${folder}/raindrops.db`];
    await using _first = await startServer({ flags, permissions });
    const error: unknown = await startServer({ flags, permissions }).catch((error) => error);
    assert.ok(error instanceof Error);
    const [, engine = ""] = /another process has it open; .* (--engine \S+)$/m.exec(error.message) ?? [];
    await using second = await startServer({ flags: engine.split(" "), permissions });
    const response = await fetch(`${second.url}/news`, { method: "POST", body: "it rains" });
    assert.equal((await response.json()).offset, 1);
  } finally {
    await Deno.remove(new URL(`../${folder}`, import.meta.url), { recursive: true });
  }
});

Deno.test("A log that cannot be opened is one clear line and exit status 1", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using server = await startServer({ flags: ["--engine", `sqlite:${folder}/one.db`] });
    await Deno.writeTextFile(`${folder}/two.db`, "This is no database. ".repeat(100));
    await Deno.writeTextFile(`${folder}/file`, "");
    const cases: readonly [string, RegExp][] = [
      ["one.db", new RegExp(`one\\.db.*another.*; stop .*--engine sqlite:${folder}/second\\.db\n$`)],
      ["two.db", /two\.db.*(not|no) .*database/],
      ["file/three.db", /three\.db/],
    ];
    for (const [name, expected] of cases) {
      const { code, errors } = await run("--port", "0", "--engine", `sqlite:${folder}/${name}`);
      assert.equal(code, 1, errors);
      assert.match(errors, expected);
      assert.match(errors, /^error: [^\n]+\n$/);
    }
    const response = await fetch(`${server.url}/news`, { method: "POST", body: "still here" });
    assert.equal((await response.json()).offset, 1);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

const FULL_DISK =
  "A full disk answers POST with 507, loses nothing that was acknowledged, and works again once there is room";
Deno.test({
  name: mayMount ? FULL_DISK : `${FULL_DISK} (skipped: this process may not mount a small disk)`,
  ignore: !mayMount,
  async fn() {
    const folder = await Deno.makeTempDir();
    await using disk = await mountTemporary(folder, "size=6m");
    await using server = await startServer({ flags: ["--engine", `sqlite:${folder}/raindrops.db`] });
    const body = "x".repeat(60_000);
    const publish = async (channel: string) => {
      const response = await fetch(`${server.url}/${channel}`, { method: "POST", body });
      const { offset, detail } = await response.json();
      return { status: response.status, offset, detail };
    };
    let acknowledged = 0;
    let refused = await publish("news");
    for (; refused.status === 200; refused = await publish("news")) acknowledged = refused.offset;
    assert.equal(refused.status, 507);
    assert.match(refused.detail, /full|space/i);
    const document = await fetch(`${server.url}/news?since=earliest`, {
      headers: { accept: "application/json" },
    });
    assert.equal((await document.json()).messages.length, acknowledged);
    await disk.remount("size=24m");
    const again = await publish("news");
    assert.deepEqual([again.status, again.offset], [200, acknowledged + 1]);
    await server.stop();
  },
});

Deno.test("A rules file that is missing or wrong is one clear line and exit status 1", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/rules.json`, '[{"channels":"a","colour":1}]');
    await Deno.writeTextFile(`${folder}/comma.json`, '[\n  {"channels":"a"},\n]');
    await Deno.writeTextFile(`${folder}/empty.json`, "");
    const cases = {
      "rules.json": /unknown key "colour"/,
      "comma.json": /^error: Rules file \S+\/comma\.json: it is not JSON at line 3, column 1: [^\n]*\n$/,
      "empty.json": /^error: Rules file \S+\/empty\.json: the file is empty\n$/,
      "missing.json": /^error: There is no file \S+\/missing\.json, which --rules names\n$/,
      ".": /^error: Cannot read \S+ of --rules: it is a directory\n$/,
    };
    const { code, errors } = await run("--engine", "memory:", "--token-jwks", `${folder}/comma.json`);
    assert.equal(code, 1);
    assert.match(errors, /^error: Key set \S+\/comma\.json: it is not JSON at line 3, column 1: [^\n]*\n$/);
    const apps = await run("--engine", "memory:", "--pusher-apps", `${folder}/comma.json`);
    assert.equal(apps.code, 1);
    assert.match(
      apps.errors,
      /^error: Pusher apps file \S+\/comma\.json: it is not JSON at line 3, column 1: [^\n]*\n$/,
    );
    for (const [file, reason] of Object.entries(cases)) {
      const { code, errors } = await run("--engine", "memory:", "--rules", `${folder}/${file}`);
      assert.equal(code, 1);
      assert.match(errors, reason);
      assert.equal(errors.trimEnd().split("\n").length, 1, errors);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("The log tells where to go, who came, what was said and who left", async () => {
  await using server = await startServer();
  {
    await using socket = await TestSocket.open(`${server.socketUrl}/news?name=John&id=id1`);
    socket.send("it rains\n".repeat(20));
    await server.line(/message received/);
  }
  await server.line(/client disconnected/);
  const [open, hint, listening, connected, received, disconnected] = server.lines;
  assert.equal(open, `Raindrops is live: open ${server.url}/`);
  assert.equal(hint, `Try: curl -d 'it rains' ${server.url}/`);
  assert.equal(listening, `listening port=${server.port} listener=deno`);
  assert.equal(connected, "client connected id=id1 name=John channel=news protocol=plain");
  assert.equal(received, `message received: ${"it rains\\n".repeat(11)}…`);
  assert.equal(disconnected, "client disconnected id=id1 code=1005");
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`${signal} closes sockets with 1012, ends streams and exits 0`, async () => {
    await using server = await startServer();
    await using socket = await TestSocket.open(`${server.socketUrl}/news`);
    const stream = await fetch(`${server.url}/news`, { headers: { accept: "text/event-stream" } });
    server.signal(signal);
    assert.deepEqual(await socket.closed, { code: 1012, reason: "service restart" });
    await stream.text();
    assert.equal((await server.ended())?.code, 0);
    assert.equal(server.lines.at(-1), "stopped");
  });
}

Deno.test("SIGTERM ends the process within 10 seconds though a reader has stalled", async () => {
  await using server = await startServer({
    flags: ["--max-queue-bytes", "1000000000", "--log-level", "debug"],
  });
  using _stalled = await stallReader(server);
  const start = performance.now();
  server.signal("SIGTERM");
  assert.equal((await server.ended())?.code, 0);
  assert.ok(performance.now() - start < 10_000);
  assert.deepEqual(server.lines.filter((line) => line.startsWith("error:")), []);
});

Deno.test("A server whose log nobody reads any more serves on and stops on a signal", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-check", SERVER, "--engine", "memory:", "--port", "0"],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const reader = child.stderr.getReader();
  let printed = "";
  while (!printed.includes("Try:")) printed += new TextDecoder().decode((await reader.read()).value);
  await reader.cancel();
  const url = /http:\/\/\S+/.exec(printed)?.[0] ?? "";
  for (let i = 0; i < 3; i++) {
    const response = await fetch(url, { method: "POST", body: "it rains" });
    assert.equal(await response.text(), "Cool thanks");
  }
  child.kill("SIGTERM");
  assert.equal((await child.status).code, 0);
});

Deno.test("What the start task may not do, it refuses at once and names the task that may", async () => {
  const folder = await Deno.makeTempDir();
  const rules = `${folder}/rules.json`;
  await Deno.writeTextFile(rules, "[]");
  for (
    const flags of [
      ["--rules", rules],
      ["--host", "127.0.0.2"],
      ["--engine", `sqlite:${folder}/raindrops.db`],
      ["--token-key", rules],
      ["--token-jwks", "https://keys.example.org/jwks.json"],
      ["--cert", rules, "--key", rules],
      ["--hooks", rules],
      ["--pusher-apps", rules],
      ["--engine", "nats://nats.example.org:4222"],
    ]
  ) {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--no-prompt", ...readPermissions("start"), SERVER, "--port", "0"]
        .concat(flags.includes("--engine") ? flags : ["--engine", "memory:", ...flags]),
    }).output();
    const said = new TextDecoder().decode(stderr);
    assert.equal(code, 1, said);
    assert.match(said, /^error: [^\n]*deno task serve[^\n]*\n$/, flags.join(" "));
    if (flags[0] === "--rules") {
      assert.match(said, /Cannot read \S+ of --rules, nor see whether it is there: /);
    }
  }
  await using server = await startServer({
    permissions: ["--no-prompt", ...readPermissions("serve")],
    flags: ["--rules", rules, "--engine", `sqlite:${folder}/raindrops.db`],
  });
  const response = await fetch(`${server.url}/news`, { method: "POST", body: "it rains" });
  assert.equal((await response.json()).offset, 1);
  await server.stop();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("A misspelt variable is one clear line and exit status 2", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-check", SERVER, "--engine", "memory:"],
    env: { RAINDROPS_ENGIN: "x" },
  }).output();
  assert.equal(code, 2);
  assert.match(
    new TextDecoder().decode(stderr),
    /^Unknown variable RAINDROPS_ENGIN: set RAINDROPS_ENGINE instead; --help lists them all\n$/,
  );
});

Deno.test("A second signal ends the process at once", async () => {
  await using server = await startServer({ flags: ["--max-queue-bytes", "1000000000"] });
  using _stalled = await stallReader(server);
  server.signal("SIGTERM");
  await server.line(/^draining/);
  server.signal("SIGTERM");
  assert.equal((await server.ended())?.code, 130);
});

Deno.test("The hello client says Hello and prints what comes back", async () => {
  await using server = await startServer();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-net", new URL("../lib/cli/hello.ts", import.meta.url).href, server.socketUrl],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let printed = "";
  const readUntil = async (text: string) => {
    while (!printed.includes(text)) printed += (await reader.read()).value ?? "(ended)";
  };
  await readUntil("Received: World!\nReceived: World!\n");
  assert.equal(printed, "Connected\nReceived: World!\nReceived: World!\n");
  await server.stop();
  await readUntil("again in");
  await server.start();
  await readUntil("Connected\n");
  printed = "";
  await readUntil("Received: World!");
  child.kill("SIGINT");
  const { signal, code } = await child.status;
  assert.ok(signal === "SIGINT" || code === 130);
  await reader.cancel();
});
