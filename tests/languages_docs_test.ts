/**
 * Runs the snippets of static/docs/languages.md, each as it stands there but for the server's address, where its language
 * is at hand. Those for a page are run by `e2e/languages_test.ts`.
 */
import assert from "node:assert/strict";
import { openShell, readBlock } from "./manual_blocks.ts";
import { startRuledApp } from "./protocols/centrifuge/app.ts";
import { startApp, type TestApp } from "./test_app.ts";

const PAGE = await Deno.readTextFile(new URL("../static/docs/languages.md", import.meta.url));
const ADDRESS = "localhost:8000";
const SECRET = "a secret of at least 32 characters";

/** A token that the page's command makes. */
async function makeToken(grant: string): Promise<string> {
  await using shell = await openShell();
  const [line] = /^export TOKEN=.*$/m.exec(await readBlock("languages.md", "RAINDROPS_TOKEN_SECRET", "sh")) ??
    [];
  assert.ok(line !== undefined && line.includes("news=subscribe,publish,history"));
  const command = line.replace("news=subscribe,publish,history", grant);
  const { output, errors } = await shell.run(`${command}\nprintf %s "$TOKEN"`, {
    RAINDROPS_TOKEN_SECRET: SECRET,
  });
  assert.match(output, /^[\w-]+\.[\w-]+\.[\w-]+$/, errors);
  return output;
}

const TOKEN = await makeToken("news=subscribe,publish,history");
const TOKEN_WITHOUT_HISTORY = await makeToken("news=subscribe,publish");

interface Language {
  readonly name: string;
  /** The program that runs it, and what it answers its version to. */
  readonly command: string;
  readonly version: string;
  /** What the first line of its snippets has, for publishing, subscribing and both with a token. */
  readonly files: readonly [publish: string, subscribe: string, token: string];
  readonly args?: readonly string[];
}

const LANGUAGES: readonly Language[] = [
  { name: "curl", command: "sh", version: "-c :", files: ["# publish", "# subscribe", "# with a token"] },
  {
    name: "Node",
    command: "node",
    version: "--version",
    files: ["publish.mjs", "subscribe.mjs", "token.mjs"],
  },
  {
    name: "Deno",
    command: Deno.execPath(),
    version: "--version",
    files: ["publish.ts", "subscribe.ts", "token.ts"],
    args: ["run", "--no-prompt", "--no-config", "--allow-net", "--allow-env=TOKEN"],
  },
  {
    name: "Python",
    command: "python3",
    version: "--version",
    files: ["publish.py", "subscribe.py", "token.py"],
  },
  // In Debian: golang-go.
  {
    name: "Go",
    command: "go",
    version: "version",
    files: ["publish.go", "subscribe.go", "token.go"],
    args: ["run"],
  },
  // In Debian: php-cli.
  { name: "PHP", command: "php", version: "--version", files: ["publish.php", "subscribe.php", "token.php"] },
  // In Debian: ruby.
  { name: "Ruby", command: "ruby", version: "--version", files: ["publish.rb", "subscribe.rb", "token.rb"] },
];

/** The code block whose first line has a text. */
function findBlock(text: string): string {
  const [block] = [...PAGE.matchAll(/^```\w+\n([\s\S]*?)^```$/gm)].map(([, code]) => code ?? "")
    .filter((code) => code.split("\n")[0]!.endsWith(text));
  assert.ok(block !== undefined && block.includes(ADDRESS), `the page has ${text}`);
  return block;
}

async function isAtHand({ command, version }: Language): Promise<boolean> {
  try {
    const options = { args: version.split(" "), stdout: "null", stderr: "null" } as const;
    return (await new Deno.Command(command, options).output()).success;
  } catch {
    return false;
  }
}

/** Starts a snippet against a server. Disposing it ends it. */
async function start(
  { command, args = [] }: Language,
  text: string,
  { port }: TestApp,
  token = "",
  stderr: "inherit" | "piped" = "inherit",
) {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/${/\w+\.\w+$/.exec(text)?.[0] ?? "snippet.sh"}`;
  await Deno.writeTextFile(file, findBlock(text).replaceAll(ADDRESS, `127.0.0.1:${port}`));
  const child = new Deno.Command(command, {
    args: [...args, file],
    cwd: folder,
    env: { TOKEN: token },
    stdin: "null",
    stdout: "piped",
    stderr,
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let output = "";
  return {
    child,
    /** Resolves when it has printed a text. */
    async readUntil(wanted: string) {
      while (!output.includes(wanted)) {
        const { value, done } = await lines.read();
        assert.ok(!done, `it prints ${wanted}; so far:\n${output}`);
        output += value;
      }
    },
    async readToEnd(): Promise<string> {
      for (;;) {
        const { value, done } = await lines.read();
        if (done) return output;
        output += value;
      }
    },
    async [Symbol.asyncDispose]() {
      await lines.cancel();
      // A shell and `go run` have children, which end when the server does.
      try {
        child.kill();
      } catch {
        // It has ended already.
      }
      await child.status;
      await Deno.remove(folder, { recursive: true });
    },
  };
}

async function readTexts({ url }: TestApp, headers: Record<string, string> = {}): Promise<unknown[]> {
  const response = await fetch(`${url}/news?since=earliest`, {
    headers: { accept: "application/json", ...headers },
  });
  const { messages } = await response.json();
  return messages.map(({ data }: { data: unknown }) => data);
}

/** Resolves once somebody reads the channel; each look is made after a request. */
async function untilSubscribed({ app, url }: TestApp): Promise<void> {
  while (app.hub.countSubscribers("news") === 0) await (await fetch(`${url}/healthz`)).body?.cancel();
}

for (const language of LANGUAGES) {
  const { name, command, files: [publish, subscribe, token] } = language;
  const ignore = !await isAtHand(language);
  const test = (promise: string, fn: () => Promise<void>) =>
    Deno.test({
      name: `${name}: ${promise}${ignore ? ` (skipped: ${command} is not installed)` : ""}`,
      ignore,
      fn,
    });

  test("the snippet that publishes does", async () => {
    await using server = await startApp();
    await using snippet = await start(language, publish, server);
    assert.equal((await snippet.child.status).success, true);
    assert.deepEqual(await readTexts(server), ["it rains"]);
  });

  test("the snippet that subscribes prints what is published", async () => {
    await using server = await startApp();
    await using snippet = await start(language, subscribe, server);
    await untilSubscribed(server);
    for (const body of ["it rains", "\u{1f327} it pours"]) {
      await (await fetch(`${server.url}/news`, { method: "POST", body })).body?.cancel();
      await snippet.readUntil(body);
    }
  });

  test("the snippet with a token publishes and subscribes where both take one", async () => {
    await using server = await startRuledApp([], `RAINDROPS_TOKEN_SECRET=${SECRET}`);
    const denied = await fetch(`${server.url}/news`, { method: "POST", body: "no" });
    assert.equal(denied.status, 401);
    await denied.body?.cancel();
    await using snippet = await start(language, token, server, TOKEN);
    await snippet.readUntil("it rains");
    const body = "\u{1f327} it pours";
    const headers = { authorization: `Bearer ${TOKEN}` };
    await (await fetch(`${server.url}/news`, { method: "POST", body, headers })).body?.cancel();
    await snippet.readUntil(body);
    assert.deepEqual(await readTexts(server, headers), ["it rains", body]);
  });

  test("the snippet with a token says why where the token lacks history, and prints no message", async () => {
    await using server = await startRuledApp([], `RAINDROPS_TOKEN_SECRET=${SECRET}`);
    await using snippet = await start(language, token, server, TOKEN_WITHOUT_HISTORY, "piped");
    const errors = new Response(snippet.child.stderr).text();
    const output = await snippet.readToEnd();
    assert.match(output + await errors, /403|history/);
    assert.doesNotMatch(output, /undefined|^(?:nil|null|None|<nil>)$/m);
  });
}
