/**
 * What the first start fetches: `deno task` installs every package of `deno.lock`, whatever the task needs. So
 * `deno.lock` holds the packages of the program and no others; those of tests are in `tests/deno.lock`.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

interface Lock {
  readonly npm: Readonly<Record<string, { readonly integrity: string }>>;
}

/** What `deno info --json` says: its packages are those of the lock file, imported or not. */
interface Graph {
  readonly modules: readonly { readonly kind: string; readonly npmPackage?: string }[];
  readonly npmPackages: Readonly<Record<string, { readonly dependencies: readonly string[] }>>;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(new URL(`../../${path}`, import.meta.url)));
}

async function readImports(path: string): Promise<Readonly<Record<string, string>>> {
  return (await readJson<{ readonly imports: Record<string, string> }>(path)).imports;
}

async function readGraph(program: string): Promise<Graph> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", program],
    cwd: ROOT,
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** The packages that modules of the graph import, and all that these depend on. */
function collectPackages({ modules, npmPackages }: Graph): Set<string> {
  const found = new Set<string>();
  const add = (name: string) => {
    if (found.has(name)) return;
    found.add(name);
    npmPackages[name]?.dependencies.forEach(add);
  };
  for (const { npmPackage } of modules) if (npmPackage !== undefined) add(npmPackage);
  return found;
}

Deno.test("The start fetches the packages that server.ts imports, and no others", async () => {
  const [{ npm }, graph] = await Promise.all([readJson<Lock>("deno.lock"), readGraph("server.ts")]);
  const hint =
    "packages of tests belong into tests/imports.json and tests/deno.lock: see static/docs/contributing.md";
  assert.deepEqual(Object.keys(npm).sort(), [...collectPackages(graph)].sort(), hint);
});

Deno.test("Tests run the program with the packages that it is served with", async () => {
  const [served, tested] = await Promise.all([readImports("deno.json"), readImports("tests/imports.json")]);
  for (const [name, target] of Object.entries(served)) assert.equal(tested[name], target, name);
  const [{ npm: serving }, { npm: testing }] = await Promise.all([
    readJson<Lock>("deno.lock"),
    readJson<Lock>("tests/deno.lock"),
  ]);
  for (const [name, { integrity }] of Object.entries(serving)) {
    assert.equal(testing[name]?.integrity, integrity, `${name} in tests/deno.lock`);
  }
});
