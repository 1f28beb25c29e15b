/** What the manual names exists: tests of promises, tasks, flags. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import manifest from "../../deno.json" with { type: "json" };
import { formatHelp } from "../../lib/config/config.ts";
import { parseOptions } from "../../lib/protocols/url/publish.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const DOCS = `${ROOT}static/docs`;

/** Flags of other programs, and of tasks other than those that serve. */
const OTHER_FLAGS =
  /^(?:allow-\w+|no-prompt|frozen|entrypoint|unstable-net|max-old-space-size|v8-flags|plain|http\d*|experimental-eventsource)$/;

interface Page {
  readonly name: string;
  readonly text: string;
}

function readPages(): Page[] {
  const names = [...Deno.readDirSync(DOCS)].map(({ name }) => `static/docs/${name}`);
  return ["README.md", ...names.sort()].map((name) => ({ name, text: Deno.readTextFileSync(ROOT + name) }));
}

Deno.test("Every test that a promise names is there", () => {
  const [, table = ""] = /## Every promise and its test\n([^]*?)\n## /.exec(
    Deno.readTextFileSync(`${DOCS}/promises.md`),
  ) ?? [];
  const named = table.split("\n").flatMap((row) => row.split(" | ")[1]?.match(/(?<=`)[a-z_/]+(?=`)/g) ?? []);
  assert.ok(named.length > 20, "the table has no tests");
  const missing = named.filter((path) =>
    !["", ".ts"].some((end) => existsSync(`${ROOT}tests/${path}${end}`))
  );
  assert.deepEqual(missing, []);
});

Deno.test("Every task that the manual names is there", () => {
  for (const { name, text } of readPages()) {
    for (const [, task = ""] of text.matchAll(/\bdeno task ([a-z][a-z:-]*)/g)) {
      assert.ok(task in manifest.tasks, `${name}: deno task ${task}`);
    }
  }
});

Deno.test("Every command with a task works for whoever has only Node", () => {
  for (const { name, text } of readPages()) {
    for (const [block] of text.matchAll(/^ *```sh\n[^]*?```/gm)) {
      assert.doesNotMatch(block, /(?<!npx -y )deno task/, name);
    }
  }
});

Deno.test("Every flag that serving takes in the manual is in --help", () => {
  const help = formatHelp();
  for (const { name, text } of readPages()) {
    if (name.endsWith("/changes.md")) continue;
    const commands = text.matchAll(/deno task (?:start|serve|node|dev)\b((?:[^`\n&#]|\\\n)*)/g);
    const inline = text.matchAll(/`(--[a-z][^`]*)`/g);
    for (const [, options = ""] of [...commands, ...inline]) {
      for (const [, flag = ""] of options.matchAll(/(?:^|\s)--([a-z][a-z0-9-]*)/g)) {
        if (!OTHER_FLAGS.test(flag)) assert.match(help, new RegExp(`--${flag}\\s`), `${name}: --${flag}`);
      }
    }
  }
});

Deno.test("The manual's table of options has those that a publish takes, and the error for another lists them", () => {
  const page = Deno.readTextFileSync(`${DOCS}/channels.md`);
  const [, table = ""] = /^\| option [^]*?\n\| -.*\n([^]*?)\n\n/m.exec(page) ?? [];
  const documented = table.split("\n").flatMap((row) => row.split("|")[1]!.match(/(?<=`)\w+(?=`)/g) ?? []);
  assert.throws(() => parseOptions({ nonsense: "" }), (error: Error) => {
    const [, taken = ""] = /there may be (.*) too$/.exec(error.message) ?? [];
    assert.deepEqual(documented.toSorted(), taken.replace("; in a query", ",").split(", ").toSorted());
    return true;
  });
});
