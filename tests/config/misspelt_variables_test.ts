/** Misspelt variables end the start under the tasks' own permissions, which let the program see no list of variables. */
import assert from "node:assert/strict";
import manifest from "../../deno.json" with { type: "json" };
import { ENVIRONMENT_VARIABLES, listMistakenVariables, parseConfig } from "../../lib/config/config.ts";

const SERVER = new URL("../../server.ts", import.meta.url);
const UNIT = await Deno.readTextFile(new URL("../../static/docs/running.md", import.meta.url));

/** The programs of which some start the server: the tasks, and the unit of the manual. */
const COMMANDS: ReadonlyMap<string, string> = new Map([
  ...(["start", "serve", "node", "dev"] as const).map((name) =>
    [`the task ${name}`, manifest.tasks[name].command] as const
  ),
  ["the unit of running.md", /^ExecStart=.*$/m.exec(UNIT)?.[0] ?? ""],
]);

/** Runs the server with the permissions of a command. Where the variables are fine, a file that is missing ends it. */
async function start(
  command: string,
  env: Record<string, string>,
): Promise<{ code: number; errors: string }> {
  const flags = command.split(" ").filter((part) => /^--(no-prompt|allow-.*)$/.test(part));
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      ...flags,
      "--no-check",
      SERVER.href,
      "--engine",
      "memory:",
      "--rules",
      "/nowhere/rules.json",
    ],
    cwd: new URL(".", SERVER),
    env,
    stdout: "null",
    stderr: "piped",
  }).output();
  return { code, errors: new TextDecoder().decode(stderr) };
}

for (const [what, command] of COMMANDS) {
  Deno.test(`A misspelt variable is refused under the permissions of ${what}`, async () => {
    assert.ok(command.includes("--allow-env=PORT,HOST,RAINDROPS_*"), command);
    const { code, errors } = await start(command, { RAINDROPS_API_KEY: "s3cret" });
    assert.deepEqual([code, errors], [
      2,
      "Unknown variable RAINDROPS_API_KEY: set RAINDROPS_API_KEYS instead; --help lists them all\n",
    ]);
  });
}

/** Ways to misspell a variable; undefined where one does not apply. */
const WAYS: Readonly<Record<string, (name: string) => string | undefined>> = {
  "its last letter is missing": (name) => name.slice(0, -1),
  "its first letter is doubled": (name) => name.slice(0, 1) + name,
  "its second and third letters are swapped": (name) => name[0]! + name[2]! + name[1]! + name.slice(3),
  "it is in the plural": (name) => /[^S]$/.test(name) ? `${name}S` : undefined,
  "it is in the singular": (name) => name.endsWith("S") ? name.slice(0, -1) : undefined,
  "its first word is in the plural": (name) =>
    /^[^_]*[^S_]_/.test(name) ? name.replace("_", "S_") : undefined,
  "an underscore between words is missing": (name) => name.includes("_") ? name.replace("_", "") : undefined,
  "all underscores between words are missing": (name) =>
    name.includes("_") ? name.replaceAll("_", "") : undefined,
  "its first two words are swapped": (name) =>
    /^[^_]+_[^_]/.test(name) ? name.replace(/^([^_]+)_([^_]+)/, "$2_$1") : undefined,
};

for (const [way, misspell] of Object.entries(WAYS)) {
  Deno.test(`The program asks for every variable as it is when ${way}, and names the right one`, () => {
    const misspellings = ENVIRONMENT_VARIABLES.map((variable) => ({
      variable,
      misspelt: misspell(variable.replace("RAINDROPS_", "")),
    })).flatMap(({ variable, misspelt }) =>
      misspelt === undefined ? [] : [{ variable, misspelt: `RAINDROPS_${misspelt}` }]
    ).filter(({ misspelt }) => !ENVIRONMENT_VARIABLES.includes(misspelt));
    assert.ok(misspellings.length > 0);
    const mistaken = listMistakenVariables();
    for (const { variable, misspelt } of misspellings) {
      assert.ok(mistaken.includes(misspelt), misspelt);
      assert.throws(() => parseConfig([], { [misspelt]: "1" }), (error: Error) => {
        const [, meant = ""] = /^\S+ \S+ \S+ set (.*) instead/.exec(error.message) ?? [];
        return error instanceof SyntaxError && meant.split(" or ").includes(variable);
      }, `${misspelt} for ${variable}`);
    }
  });
}

Deno.test("What Kubernetes sets beside a Service named raindrops is no misspelt variable", () => {
  parseConfig([], {
    RAINDROPS_PORT: "tcp://10.0.0.11:80",
    RAINDROPS_PORT_80_TCP: "tcp://10.0.0.11:80",
    RAINDROPS_PORT_80_TCP_PROTO: "tcp",
    RAINDROPS_PORT_80_TCP_PORT: "80",
    RAINDROPS_PORT_80_TCP_ADDR: "10.0.0.11",
    RAINDROPS_SERVICE_HOST: "10.0.0.11",
    RAINDROPS_SERVICE_PORT: "80",
    RAINDROPS_SERVICE_PORT_HTTP: "80",
  });
  assert.throws(() => parseConfig([], { RAINDROPS_PORT: "80" }), /Unknown variable RAINDROPS_PORT/);
});
