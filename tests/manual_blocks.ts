/** The code blocks of a page of the manual, for the tests that run them as they stand. */

/** The blocks of a page in a language, such as `sh`; of all languages if none is named. */
export async function readBlocks(page: string, language = "\\w+"): Promise<readonly string[]> {
  const text = await Deno.readTextFile(new URL(`../static/docs/${page}`, import.meta.url));
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm"))].map(([, block]) =>
    block!
  );
}

/** The one block of a page that has a text. */
export async function readBlock(page: string, text: string, language?: string): Promise<string> {
  const blocks = (await readBlocks(page, language)).filter((block) => block.includes(text));
  if (blocks.length === 1) return blocks[0]!;
  throw new Error(`${blocks.length} code blocks of ${page} have ${JSON.stringify(text)}`);
}

/** A folder in which commands are run as in a clone: `npx -y deno` is the Deno of the tests. Disposing removes it. */
export interface Shell extends AsyncDisposable {
  readonly folder: string;
  /** Runs commands, with `-e`: the first that fails ends them. */
  run(commands: string, env?: Readonly<Record<string, string>>): Promise<ShellResult>;
}

export interface ShellResult {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

export async function openShell(): Promise<Shell> {
  const folder = await Deno.makeTempDir();
  const bin = await Deno.makeTempDir();
  const config = new URL("../deno.json", import.meta.url).pathname;
  const npx = `#!/bin/sh\nshift 3\nexec "${Deno.execPath()}" task --config "${config}" "$@"\n`;
  await Deno.writeTextFile(`${bin}/npx`, npx, { mode: 0o755 });
  return {
    folder,
    async run(commands, env = {}) {
      const { code, stdout, stderr } = await new Deno.Command("sh", {
        args: ["-e", "-c", commands],
        cwd: folder,
        env: { ...env, PATH: `${bin}:${Deno.env.get("PATH")}` },
        stdin: "null",
      }).output();
      const decoder = new TextDecoder();
      return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([folder, bin].map((path) => Deno.remove(path, { recursive: true })));
    },
  };
}
