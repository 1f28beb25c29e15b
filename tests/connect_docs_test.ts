/** Runs what static/docs/connect.md shows, for the languages that are at hand. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { SECRET, SECRET_BYTES, writeHooks } from "./hooks/receiver.ts";
import { startApp } from "./test_app.ts";

const PAGE = await Deno.readTextFile(new URL("../static/docs/connect.md", import.meta.url));

/** The code block that begins with a comment naming a file. */
function findBlock(file: string): string {
  const block = [...PAGE.matchAll(/^```\w+\n([\s\S]*?)^```$/gm)].map(([, text]) => text ?? "")
    .find((text) => /^(?:\/\/|#|<\?php \/\/) (.*)$/m.exec(text.split("\n")[0]!)?.[1] === file);
  assert.ok(block !== undefined, `the page has ${file}`);
  return block;
}

async function isAtHand(command: string, version = "--version"): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args: [version], stdout: "null", stderr: "null" }).output())
      .success;
  } catch {
    return false;
  }
}

function findFreePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

interface Receiving {
  readonly command: string;
  readonly file: string;
  readonly version?: string;
  /** Built before it is run, as `go run` would leave its child behind. */
  readonly isCompiled?: true;
  /** What comes before the file. */
  args?(port: number): readonly string[];
  /** What it prints once it listens, where it is not `ready` to stdout. */
  readonly readyOnStderr?: string;
}

const RECEIVERS: readonly Receiving[] = [
  { command: "node", file: "receiver.mjs" },
  { command: "python3", file: "receiver.py" },
  // In Debian: golang-go.
  { command: "go", file: "receiver.go", version: "version", isCompiled: true },
  // In Debian: php-cli.
  {
    command: "php",
    file: "receiver.php",
    args: (port) => ["-S", `127.0.0.1:${port}`],
    readyOnStderr: "started",
  },
];

for (const { command, file, version, isCompiled, args, readyOnStderr } of RECEIVERS) {
  const ignore = !await isAtHand(command, version);
  Deno.test({
    name: `The receiver of the page in ${command} takes what is signed, once, and refuses the rest` +
      (ignore ? ` (skipped: ${command} is not installed)` : ""),
    ignore,
    async fn() {
      const directory = await Deno.makeTempDir();
      await Deno.writeTextFile(`${directory}/${file}`, findBlock(file));
      const port = findFreePort();
      if (isCompiled) await build(command, directory, file);
      await using receiver = new Deno.Command(isCompiled ? `${directory}/receiver` : command, {
        args: isCompiled ? [] : [...args?.(port) ?? [], `${directory}/${file}`],
        env: { PORT: String(port), WEBHOOK_SECRET: SECRET, TMPDIR: directory },
        stdout: "piped",
        stderr: readyOnStderr === undefined ? "null" : "piped",
      }).spawn();
      const lines = receiver.stdout.pipeThrough(new TextDecoderStream()).getReader();
      let output = "";
      const readUntil = async (text: string) => {
        while (!output.includes(text)) {
          const { value, done } = await lines.read();
          assert.ok(!done, `it prints ${text}; so far:\n${output}`);
          output += value;
        }
      };
      const stderr = readyOnStderr === undefined ? undefined : await readUntilReady(receiver, readyOnStderr);
      if (stderr === undefined) await readUntil("ready");
      const url = `http://127.0.0.1:${port}/`;
      for (const headers of [{}, forge(Date.now() / 1_000), forge(0)]) {
        const response = await fetch(url, { method: "POST", body: "{}", headers });
        assert.equal(response.status, 401);
        await response.body?.cancel();
      }
      {
        await using server = await startApp(
          `RAINDROPS_WEBHOOK_URL=${url}`,
          `RAINDROPS_WEBHOOK_SECRET=${SECRET}`,
        );
        for (const body of ["it rains", "\u00e9\u{1f327}", "the end"]) {
          await (await fetch(`${server.url}/weather`, { method: "POST", body })).body?.cancel();
        }
        await readUntil("the end");
        await sendTwice(url, "sent twice");
        await readUntil("sent twice");
      }
      assert.equal(output.split("sent twice").length, 2, "a repeat is dropped");
      for (const text of ["message weather it rains", "\u00e9\u{1f327}"]) {
        assert.ok(output.includes(text), output);
      }
      receiver.kill();
      await Promise.all([lines.cancel(), stderr?.cancel()]);
      await Deno.remove(directory, { recursive: true });
    },
  });
}

/** What the page says to type for a receiver. */
function findCommand(file: string): string {
  const [command] = new RegExp(`^.*WEBHOOK_SECRET=\\$RAINDROPS_WEBHOOK_SECRET .* ${file}$`, "m").exec(PAGE) ??
    [];
  assert.ok(command !== undefined, `the page has a command for ${file}`);
  return command;
}

for (const { command, file, version, readyOnStderr } of RECEIVERS) {
  const ignore = !await isAtHand(command, version);
  Deno.test({
    name: `The receiver of the page in ${command} says which variables it lacks, which its command sets` +
      (ignore ? ` (skipped: ${command} is not installed)` : ""),
    ignore,
    async fn() {
      const wanted = readyOnStderr === undefined ? ["PORT", "WEBHOOK_SECRET"] : ["WEBHOOK_SECRET"];
      const shown = findCommand(file);
      for (const name of wanted) assert.match(shown, new RegExp(`(^| )${name}=`));
      const directory = await Deno.makeTempDir();
      await Deno.writeTextFile(`${directory}/${file}`, findBlock(file));
      const { stderr } = await new Deno.Command(command, {
        args: [...version === "version" ? ["run"] : [], `${directory}/${file}`],
        env: { PORT: "0", WEBHOOK_SECRET: "" },
        stdin: "null",
      }).output();
      assert.match(new TextDecoder().decode(stderr), new RegExp(`Set ${wanted.join(" and ")}`));
      await Deno.remove(directory, { recursive: true });
    },
  });
}

async function build(command: string, directory: string, file: string): Promise<void> {
  const args = ["build", "-o", `${directory}/receiver`, `${directory}/${file}`];
  const { success, stderr } = await new Deno.Command(command, { args }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

/** Reads on, so that the receiver never waits for its own lines to be read. */
async function readUntilReady(
  receiver: Deno.ChildProcess,
  text: string,
): Promise<{ cancel(): Promise<void> }> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = new AbortController();
  let output = "";
  const reading = receiver.stderr.pipeThrough(new TextDecoderStream()).pipeTo(
    new WritableStream({
      write(chunk) {
        output += chunk;
        if (output.includes(text)) resolve();
      },
    }),
    { signal: stop.signal },
  ).catch(() => {}).finally(() => reject(new Error(`It ended before it was ready:\n${output}`)));
  await promise;
  return {
    async cancel() {
      stop.abort();
      await reading.catch(() => {});
    },
  };
}

/** One request as a webhook makes it, and its repeat. */
async function sendTwice(url: string, data: string): Promise<void> {
  const body = JSON.stringify({ type: "message", channel: "weather", data });
  const timestamp = String(Math.floor(Date.now() / 1_000));
  const hmac = createHmac("sha256", SECRET_BYTES).update(`twice.${timestamp}.${body}`).digest("base64");
  const headers = {
    "webhook-id": "twice",
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,bm9uZQ== v1,${hmac}`,
  };
  for (let i = 0; i < 2; i++) {
    const response = await fetch(url, { method: "POST", body, headers });
    assert.equal(response.status, 204);
    await response.body?.cancel();
  }
}

/** Headers whose signature is not of this secret. */
function forge(seconds: number): Record<string, string> {
  const timestamp = String(Math.floor(seconds));
  return {
    "webhook-id": "x",
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${btoa("a".repeat(32))}`,
  };
}

Deno.test("The hooks file of the page is read as it stands", async () => {
  const [, json = ""] = /^```json\n([\s\S]*?)^```$/m.exec(PAGE) ?? [];
  const file = await writeHooks(JSON.parse(json));
  await using server = await startApp("--hooks", file, "RAINDROPS_API_KEYS=key");
  const response = await fetch(`${server.url}/news`, {
    headers: { accept: "application/json", "x-api-key": "key" },
  });
  assert.equal(response.status, 200);
  await response.body?.cancel();
});
