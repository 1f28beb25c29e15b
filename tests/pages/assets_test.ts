/** The files of pages, each as it is prepared when a browser asks for it. */
import assert from "node:assert/strict";
import { loadAssets } from "../../lib/pages/assets.ts";
import { BROWSER_PACKAGES } from "../../lib/pages/browser_packages.ts";

const STATIC = new URL("../../static/", import.meta.url);
/** A static import of JavaScript, as deno fmt formats it. */
const IMPORT = /^(?:import\b|export [{*])[^;"`]*?"([^"\n]+)"/gm;
const MODULE = /<link rel="modulepreload" href="\/_static\/[0-9a-f]{12}\/([^"]+)"/g;

async function read(assets: Awaited<ReturnType<typeof loadAssets>>, path: string): Promise<string> {
  return new TextDecoder().decode((await assets.find(path))?.body);
}

Deno.test("Every file of the pages can be prepared, and imports nothing that a browser would not find", async () => {
  const assets = await loadAssets(STATIC, BROWSER_PACKAGES);
  assert.ok(assets.paths.length > 100);
  for (const path of assets.paths) {
    const text = await read(assets, path);
    assert.notEqual(text, "", path);
    if (!path.endsWith(".ts")) continue;
    for (const [, specifier = ""] of text.matchAll(IMPORT)) {
      const target = new URL(specifier, `https://example.org/_static/${assets.version}/${path}`).pathname;
      assert.notEqual(
        assets.find(target.replace(`/_static/${assets.version}/`, "")),
        undefined,
        `${path}: ${specifier}`,
      );
    }
  }
});

Deno.test("A page preloads all modules that its script imports, and no types", async () => {
  const assets = await loadAssets(STATIC, BROWSER_PACKAGES);
  for (const path of assets.paths.filter((path) => path.endsWith(".html"))) {
    const html = await read(assets, path);
    const [, script] = /<script type="module" src="\/_static\/[0-9a-f]{12}\/([^"]+)"/.exec(html) ?? [];
    if (script === undefined) continue;
    const wanted = new Set<string>();
    const visit = async (module: string) => {
      for (
        const [, specifier = ""] of (await read(assets, module)).matchAll(
          IMPORT,
        )
      ) {
        const url = new URL(specifier, `https://example.org/_static/${assets.version}/${module}`);
        const target = url.pathname.replace(`/_static/${assets.version}/`, "");
        if (wanted.has(target)) continue;
        wanted.add(target);
        await visit(target);
      }
    };
    await visit(script);
    assert.deepEqual([...html.matchAll(MODULE)].map(([, module]) => module).sort(), [...wanted].sort(), path);
  }
});

Deno.test("A module that imports what is no package of the pages is refused, and says which", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/parts`);
    for (const name of ["parts/head.html", "docs.html"]) await Deno.writeTextFile(`${folder}/${name}`, "");
    await Deno.writeTextFile(`${folder}/a.ts`, 'import { b } from "elsewhere";\nb();\n');
    const assets = await loadAssets(new URL(`file://${folder}/`), {});
    await assert.rejects(
      async () => await assets.find("a.ts"),
      /a\.ts imports "elsewhere", which is not among/,
    );
    assert.equal(assets.find("b.ts"), undefined);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
