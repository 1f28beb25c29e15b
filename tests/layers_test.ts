/**
 * Guards the house: reads every import of lib/ and server.ts and fails with each arrow that the table "Who may
 * import whom" does not allow, and with each use of a global that belongs to another folder.
 */
import assert from "node:assert/strict";
import { dirname, join, normalize, relative } from "node:path/posix";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** A source file, by its path from the top, such as `lib/core/hub.ts`. */
interface Source {
  readonly path: string;
  readonly text: string;
}

/** Folders of lib, and its files at the top, with what each may import beside itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  core: ["base"],
  auth: ["core", "base"],
  engines: ["core", "base"],
  listeners: ["core", "base"],
  observe: ["core", "base"],
  http: ["core", "auth", "base"],
  protocols: ["core", "auth", "http", "base"],
  api: ["core", "auth", "http", "base"],
  inspect: ["core", "auth", "http", "base"],
  pages: ["core", "auth", "http", "base"],
  cli: ["core", "auth", "config", "base"],
  hooks: ["core", "auth", "http", "base"],
  // A push reads the engine by position, as webhooks do.
  push: ["core", "auth", "http", "hooks", "base"],
  // The table of settings joins the rows of engines, hooks, protocols and push.
  config: ["core", "auth", "engines", "hooks", "protocols", "push", "base"],
  "app.ts": [
    "api",
    "auth",
    "base",
    "config",
    "core",
    "engines",
    "hooks",
    "http",
    "inspect",
    "observe",
    "pages",
    "protocols",
    "push",
  ],
  "mod.ts": ["app.ts", "base", "config", "core", "engines", "listeners"],
  // Threads of a server: each puts an app and a listener together.
  workers: ["app.ts", "base", "config", "core", "engines", "listeners", "observe", "protocols"],
  "server.ts": ["app.ts", "config", "core", "listeners", "observe", "workers"],
};

/** Folders whose parts can be exchanged: from outside only through `mod.ts`, and no part imports another. */
const EXCHANGEABLE: Readonly<Record<string, readonly string[]>> = {
  // Each with the files at its top that all parts share.
  engines: ["stamp.ts", "forgotten.ts"],
  protocols: ["protocol.ts"],
};

/** Holds the version, which `lib/config/version.ts` reads. */
const MANIFEST = "deno.json";

/** Globals that only some files may touch. */
const GLOBALS: readonly { readonly pattern: RegExp; readonly mayUse: (owner: string) => boolean }[] = [
  { pattern: /\bDeno\b/, mayUse: (owner) => owner !== "core" && owner !== "base" },
  {
    pattern: /\b(?:fetch\s*\(|new (?:WebSocket|EventSource)\b)/,
    mayUse: (owner) => owner !== "core" && owner !== "base",
  },
  {
    pattern: /\b(?:Deno\.(?:env|args|exit|exitCode|addSignalListener|removeSignalListener)|process\.\w+)\b/,
    mayUse: (owner) => owner === "server.ts" || owner === "cli",
  },
];

/** The specifiers a module imports: static, type-only, re-exported and dynamic. */
function findImports(text: string): string[] {
  const code = removeComments(text);
  const found = [
    // deno fmt starts them at the margin; nothing of a statement before its specifier is a quote or semicolon.
    ...code.matchAll(/^(?:import|export)\b[^;"'`]*?\bfrom\s*["']([^"'\n]+)["']/gm),
    ...code.matchAll(/^import\s*["']([^"'\n]+)["']/gm),
    ...code.matchAll(/\bimport\s*\(\s*["'`]([^"'`\n]+)["'`]/g),
  ].map(([, specifier]) => specifier ?? "");
  const dynamic = [...code.matchAll(/\bimport\s*\((?!\s*["'])/g)].map(() => "(not a literal)");
  return [...found, ...dynamic];
}

/** Source without its comments. Strings stay, as specifiers are strings. */
function removeComments(text: string): string {
  const tokens = /\/\*[\s\S]*?\*\/|\/\/.*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g;
  return text.replaceAll(tokens, (token) => token.startsWith("/") ? " " : token);
}

/** The folder of lib a file is in, or its name when it is at the top of lib or of the project. */
function findOwner(path: string): string {
  const [top, second] = path.split("/");
  return top === "lib" && second !== undefined ? second : path;
}

/** Everything in the sources that the architecture does not allow, one line each. */
function findViolations(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, text }) => [
    ...findImports(text).flatMap((specifier) => {
      const reason = findImportFault(path, specifier);
      return reason === undefined ? [] : [`${path} -> ${specifier}: ${reason}`];
    }),
    ...GLOBALS.flatMap(({ pattern, mayUse }) => {
      const use = pattern.exec(removeComments(text))?.[0];
      return use === undefined || mayUse(findOwner(path)) ? [] : [`${path} uses ${use}`];
    }),
  ]);
}

/** The one thing that base needs of a runtime: code in JavaScript counts bytes of UTF-8 in 50 times as long. */
const BUILT_INS: Readonly<Record<string, string>> = { "lib/base/utf8.ts": "node:buffer" };

/** Why a file may not import what it does, or undefined when it may. */
function findImportFault(from: string, specifier: string): string | undefined {
  const owner = findOwner(from);
  if (!specifier.startsWith(".")) {
    return (owner === "core" || owner === "base") && BUILT_INS[from] !== specifier
      ? `${owner} imports no packages and no built-in modules`
      : undefined;
  }
  const target = normalize(join(dirname(from), specifier));
  const targetOwner = findOwner(target);
  if (target === MANIFEST && owner === "config") return undefined;
  if (target !== "server.ts" && !target.startsWith("lib/")) return "nothing outside lib is imported";
  const allowed = MAY_IMPORT[owner];
  if (allowed === undefined) return `"${owner}" is not in the table: say what it may import`;
  if (owner !== targetOwner) {
    if (!allowed.includes(targetOwner)) return `${owner} may import ${["itself", ...allowed].join(", ")}`;
    return targetOwner in EXCHANGEABLE && target !== `lib/${targetOwner}/mod.ts`
      ? `${targetOwner} are imported through their mod.ts`
      : undefined;
  }
  return findSiblingFault(owner, from, target);
}

/** An engine or protocol stands alone: with the shared files of the top, and what is in its own folder. */
function findSiblingFault(owner: string, from: string, target: string): string | undefined {
  const shared = EXCHANGEABLE[owner];
  if (shared === undefined) return undefined;
  const [importer, imported] = [from, target].map((path) => relative(`lib/${owner}`, path)) as [
    string,
    string,
  ];
  if (["mod.ts", "registry.ts"].includes(importer) || shared.includes(imported)) return undefined;
  const [folder, ...rest] = importer.split("/");
  if (rest.length > 0 && imported.startsWith(`${folder}/`)) return undefined;
  return `${owner} do not import each other`;
}

/** Circles of imports, each as the path that closes it. */
function findCircles(sources: readonly Source[]): string[] {
  const imports = new Map(sources.map(({ path, text }) => [
    path,
    findImports(text).filter((specifier) => specifier.startsWith("."))
      .map((specifier) => normalize(join(dirname(path), specifier))),
  ]));
  const circles: string[] = [];
  const done = new Set<string>();
  function visit(path: string, trail: readonly string[]): void {
    if (trail.includes(path)) {
      circles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
      return;
    }
    if (done.has(path)) return;
    for (const target of imports.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  }
  for (const path of imports.keys()) visit(path, []);
  return circles;
}

async function readSources(folder: string): Promise<Source[]> {
  const sources: Source[] = [];
  for await (const { name, isDirectory } of Deno.readDir(join(ROOT, folder))) {
    const path = `${folder}/${name}`;
    if (isDirectory) sources.push(...await readSources(path));
    else if (/\.[cm]?[jt]sx?$/.test(name)) {
      sources.push({ path, text: await Deno.readTextFile(join(ROOT, path)) });
    }
  }
  return sources;
}

Deno.test("lib/ and server.ts import only what the table allows, and use only their own globals", async () => {
  const sources = await readSources("lib");
  sources.push({ path: "server.ts", text: await Deno.readTextFile(join(ROOT, "server.ts")) });
  assert.ok(sources.some(({ path }) => path === "lib/core/hub.ts"));
  assert.ok(findImports(sources.find(({ path }) => path === "lib/core/hub.ts")!.text).includes("./log.ts"));
  const violations = findViolations(sources);
  assert.equal(violations.length, 0, `\n${violations.join("\n")}`);
});

Deno.test("no modules import each other in a circle, type-only imports included", async () => {
  const sources = await readSources("lib");
  assert.deepEqual(findCircles(sources), []);
  const circle = ["a", "b", "c"].map((name, i, all) => ({
    path: `lib/core/${name}.ts`,
    text: `import type { X } from "./${all[(i + 1) % all.length]}.ts";`,
  }));
  assert.equal(findCircles(circle).length, 1, "the guard sees a circle");
});

Deno.test("the guard reads every form of import, and none that is a comment or a string", () => {
  const text = [
    'import a from "./a.ts";',
    "import {",
    "  type B,",
    "  c, // a comment",
    '} from "./b.ts";',
    'import type { C } from "./c.ts";',
    'import * as d from "./d.ts";',
    'import "./e.ts";',
    'import F from "./f.js" with { type: "text" };',
    'export { g } from "./g.ts";',
    'export type { G } from "./g2.ts";',
    'export * from "./h.ts";',
    'export * as i from "./i.ts";',
    'const j = await import("./j.ts");',
    'type K = typeof import("./k.ts");',
    "const l = await import(name);",
    '// import "./no.ts";',
    '/** import "./no.ts"; */',
    'const url = "http://x/"; // from "./no.ts"',
    'export const m = "from"; const n = "./no.ts";',
    "export function o() {",
    '  return Array.from("./no.ts");',
    "}",
  ].join("\n");
  const letters = ["a", "b", "c", "d", "f", "g", "g2", "h", "i", "e", "j", "k"];
  const expected = letters.map((letter) => `./${letter}.${letter === "f" ? "js" : "ts"}`);
  assert.deepEqual(findImports(text), [...expected, "(not a literal)"]);
});

Deno.test("the guard names every arrow that breaks the table", () => {
  const forbidden: readonly [path: string, text: string][] = [
    ["lib/base/turn.ts", 'import type { X } from "../core/hub.ts";'],
    ["lib/base/turn.ts", 'import { X } from "node:fs";'],
    ["lib/base/turn.ts", "Deno.env;"],
    ["lib/core/hub.ts", 'import type { X } from "../engines/memory/engine.ts";'],
    ["lib/core/hub.ts", 'import { X } from "../auth/tokens.ts";'],
    ["lib/core/hub.ts", 'import { X } from "node:fs";'],
    ["lib/core/hub.ts", 'export { X } from "hono";'],
    ["lib/core/hub.ts", "Deno.env;"],
    ["lib/core/hub.ts", 'await fetch("http://x/");'],
    ["lib/core/hub.ts", 'new WebSocket("ws://x/");'],
    ["lib/core/hub.ts", 'import "../../tests/fakes/socket.ts";'],
    ["lib/core/hub.ts", "await import(name);"],
    ["lib/engines/memory/engine.ts", 'import { X } from "../sqlite/engine.ts";'],
    ["lib/engines/memory/engine.ts", 'import { X } from "../mod.ts";'],
    ["lib/engines/memory/engine.ts", 'import { X } from "../../protocols/mod.ts";'],
    ["lib/engines/stamp.ts", 'import { X } from "./memory/engine.ts";'],
    ["lib/engines/sqlite/engine.ts", 'import { X } from "../jetstream/engine.ts";'],
    ["lib/protocols/url/plain.ts", 'export * from "../centrifuge/session.ts";'],
    ["lib/protocols/centrifuge/codec.ts", 'import { X } from "../url/plain.ts";'],
    ["lib/protocols/url/plain.ts", 'import { X } from "../../pages/pages.ts";'],
    ["lib/protocols/protocol.ts", 'import { X } from "./url/plain.ts";'],
    ["lib/api/publish.ts", 'const x = await import("../engines/mod.ts");'],
    ["lib/http/body.ts", 'import { X } from "../protocols/mod.ts";'],
    ["lib/http/body.ts", 'import { X } from "../app.ts";'],
    ["lib/http/body.ts", 'Deno.env.get("PORT");'],
    ["lib/listeners/deno.ts", "Deno.exit(1);"],
    ["lib/listeners/node/listener.ts", 'import { X } from "../../protocols/mod.ts";'],
    ["lib/auth/origin.ts", 'import { X } from "../config/config.ts";'],
    ["lib/config/config.ts", "process.env;"],
    ["lib/config/config.ts", 'import { X } from "../app.ts";'],
    ["lib/app.ts", 'import manifest from "../deno.json" with { type: "json" };'],
    ["lib/config/config.ts", "Deno.args;"],
    ["lib/app.ts", 'import { X } from "./engines/memory/engine.ts";'],
    ["lib/app.ts", 'import { X } from "./protocols/url/plain.ts";'],
    ["lib/app.ts", 'import { X } from "./listeners/deno.ts";'],
    ["lib/app.ts", 'import { X } from "../server.ts";'],
    ["lib/app.ts", 'import { X } from "./utils.ts";'],
    ["lib/app.ts", "Deno.addSignalListener;"],
    ["lib/cli/hello.ts", 'import { X } from "../engines/mod.ts";'],
    ["lib/shiny/new.ts", 'import { X } from "../core/channel.ts";'],
    ["server.ts", 'import { X } from "./lib/engines/mod.ts";'],
    ["server.ts", 'import { X } from "./lib/http/body.ts";'],
  ];
  for (const [path, text] of forbidden) {
    const violations = findViolations([{ path, text }]);
    assert.ok(violations.length > 0, `${path} may not say ${text}`);
    assert.ok(violations.every((line) => line.startsWith(path)));
  }
  const [arrow] = findViolations([{ path: "lib/core/a.ts", text: 'import "../engines/mod.ts";' }]);
  assert.equal(arrow, "lib/core/a.ts -> ../engines/mod.ts: core may import itself, base");
});

Deno.test("the guard lets every arrow of the table pass", () => {
  const allowed: readonly [path: string, text: string][] = [
    ["lib/core/hub.ts", 'import { X } from "./log.ts";\n// Deno.serve'],
    ["lib/core/cluster/bus.ts", 'import { X } from "../../base/turn.ts";'],
    ["lib/engines/sqlite/engine.ts", 'import { X } from "node:sqlite";\nimport { Y } from "../stamp.ts";'],
    [
      "lib/engines/mod.ts",
      'import { X } from "./memory/engine.ts";\nimport { Y } from "./sqlite/engine.ts";',
    ],
    [
      "lib/protocols/url/plain.ts",
      'import { X } from "../protocol.ts";\nimport { Y } from "../../auth/grants.ts";',
    ],
    ["lib/protocols/centrifuge/session.ts", 'import { X } from "./codec.ts";'],
    ["lib/engines/sqlite/writer.ts", 'import { X } from "./row.ts";'],
    ["lib/http/body.ts", 'import { X } from "./problem.ts";\nimport { Hono } from "hono";'],
    ["lib/listeners/deno.ts", 'import { X } from "../core/socket.ts";\nDeno.serve();'],
    ["lib/config/options.ts", 'import { X } from "../engines/mod.ts";'],
    ["lib/app.ts", 'import { X } from "./engines/mod.ts";\nimport { Y } from "./http/cors.ts";'],
    ["lib/cli/hello.ts", "Deno.args;"],
    ["server.ts", 'import { X } from "./lib/app.ts";\nimport "./lib/listeners/mod.ts";\nDeno.exit(1);'],
  ];
  for (const [path, text] of allowed) assert.deepEqual(findViolations([{ path, text }]), []);
});
