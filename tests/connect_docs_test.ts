/** Runs what static/docs/connect.md shows, for the languages that are at hand. */
import assert from "node:assert/strict";
import { SECRET } from "./hooks/receiver.ts";
import { writeHooks } from "./hooks/receiver.ts";
import { startApp } from "./test_app.ts";

const PAGE = await Deno.readTextFile(new URL("../static/docs/connect.md", import.meta.url));

/** The code block that begins with a comment naming a file. */
function findBlock(file: string): string {
  const block = [...PAGE.matchAll(/^```\w+\n([\s\S]*?)^```$/gm)].map(([, text]) => text ?? "")
    .find((text) => text.split("\n")[0]?.includes(file));
  assert.ok(block !== undefined, `the page has ${file}`);
  return block;
}

async function isAtHand(command: string): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args: ["--version"], stdout: "null", stderr: "null" }).output())
      .success;
  } catch {
    return false;
  }
}

function findFreePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

for (const [command, file] of [["node", "receiver.mjs"], ["python3", "receiver.py"]] as const) {
  const ignore = !await isAtHand(command);
  Deno.test({
    name: `The receiver of the page in ${command} takes what is signed, once, and refuses the rest` +
      (ignore ? ` (skipped: ${command} is not installed)` : ""),
    ignore,
    async fn() {
      const directory = await Deno.makeTempDir();
      await Deno.writeTextFile(`${directory}/${file}`, findBlock(file));
      const port = findFreePort();
      await using receiver = new Deno.Command(command, {
        args: [`${directory}/${file}`],
        env: { PORT: String(port), WEBHOOK_SECRET: SECRET },
        stdout: "piped",
        stderr: "null",
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
      await readUntil("ready");
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
      }
      for (const text of ["message weather it rains", "\u00e9\u{1f327}"]) {
        assert.ok(output.includes(text), output);
      }
      receiver.kill();
      await lines.cancel();
      await Deno.remove(directory, { recursive: true });
    },
  });
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
