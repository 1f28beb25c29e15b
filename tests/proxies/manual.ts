/** The blocks of configuration on the manual's page "Running it for real", for the tests that run them. */

/** The first block of a language, such as `nginx`. */
export async function readBlock(language: string): Promise<string> {
  const page = await Deno.readTextFile(new URL("../../static/docs/running.md", import.meta.url));
  const block = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(page)?.[1];
  if (block === undefined) throw new Error(`static/docs/running.md has no block of ${language}`);
  return block;
}

/** Replaces each text, which must be there: else the page has changed and the test has not. */
export function replaceAll(text: string, changes: Readonly<Record<string, string>>): string {
  for (const [from, to] of Object.entries(changes)) {
    if (!text.includes(from)) throw new Error(`The manual's block has no ${JSON.stringify(from)}`);
    text = text.replaceAll(from, to);
  }
  return text;
}
