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
  core: [],
  auth: ["core"],
  logs: ["core"],
  listeners: ["core"],
  protocols: ["core", "auth"],
  http: ["core", "auth"],
  routes: ["core", "auth", "protocols", "http"],
  clients: ["core", "auth"],
  "logger.ts": ["core"],
  "config.ts": ["auth", "config_options.ts"],
  "config_options.ts": ["core", "auth", "logs"],
  "app.ts": [
    "core",
    "auth",
    "logs",
    "protocols",
    "http",
    "routes",
    "config.ts",
    "logger.ts",
    "settings.ts",
    "telemetry.ts",
  ],
  "telemetry.ts": ["core"],
  "line_writer.ts": [],
  "settings.ts": ["core", "auth", "logs", "config.ts"],
  "server.ts": ["core", "listeners", "app.ts", "config.ts", "line_writer.ts", "logger.ts", "settings.ts"],
};

/** Folders of parts that can be exchanged: from outside only through `mod.ts`, and none imports its siblings. */
const EXCHANGEABLE: Readonly<Record<string, readonly string[]>> = {
  // Each with the helpers its parts share.
  logs: ["stamp.ts"],
  protocols: ["protocol.ts", "stream.ts", "replies.ts"],
};

/** Globals that only some files may touch. */
const GLOBALS: readonly { readonly pattern: RegExp; readonly mayUse: (owner: string) => boolean }[] = [
  { pattern: /\bDeno\b/, mayUse: (owner) => owner !== "core" },
  { pattern: /\b(?:fetch\s*\(|new (?:WebSocket|EventSource)\b)/, mayUse: (owner) => owner !== "core" },
  {
    pattern: /\b(?:Deno\.(?:env|args|exit|exitCode|addSignalListener|removeSignalListener)|process\.\w+)\b/,
    mayUse: (owner) => owner === "server.ts" || owner === "clients",
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

/** Why a file may not import what it does, or undefined when it may. */
function findImportFault(from: string, specifier: string): string | undefined {
  const owner = findOwner(from);
  if (!specifier.startsWith(".")) {
    return owner === "core" ? "core imports no packages and no built-in modules" : undefined;
  }
  const target = normalize(join(dirname(from), specifier));
  const targetOwner = findOwner(target);
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

/** An engine or protocol stands alone: with its folder's helpers, and the files `x_*.ts` that `x.ts` is made of. */
function findSiblingFault(owner: string, from: string, target: string): string | undefined {
  const helpers = EXCHANGEABLE[owner];
  if (helpers === undefined) return undefined;
  const folder = `lib/${owner}`;
  const [importer, imported] = [relative(folder, from), relative(folder, target)];
  if (importer === "mod.ts" || helpers.includes(imported)) return undefined;
  if (imported.startsWith(`${importer.split(/[_.]/)[0]}_`)) return undefined;
  return `${owner} do not import their siblings`;
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
    ["lib/core/hub.ts", 'import type { X } from "../logs/memory.ts";'],
    ["lib/core/hub.ts", 'import { X } from "../auth/tokens.ts";'],
    ["lib/core/hub.ts", 'import { X } from "node:fs";'],
    ["lib/core/hub.ts", 'export { X } from "hono";'],
    ["lib/core/hub.ts", "Deno.env;"],
    ["lib/core/hub.ts", 'await fetch("http://x/");'],
    ["lib/core/hub.ts", 'new WebSocket("ws://x/");'],
    ["lib/core/hub.ts", 'import "../../tests/fakes/socket.ts";'],
    ["lib/core/hub.ts", "await import(name);"],
    ["lib/logs/memory.ts", 'import { X } from "./sqlite.ts";'],
    ["lib/logs/memory.ts", 'import { X } from "./mod.ts";'],
    ["lib/logs/memory.ts", 'import { X } from "../protocols/mod.ts";'],
    ["lib/logs/stamp.ts", 'import { X } from "./memory.ts";'],
    ["lib/protocols/plain.ts", 'export * from "./ndjson.ts";'],
    ["lib/protocols/centrifuge_codec.ts", 'import { X } from "./centrifuge.ts";'],
    ["lib/protocols/plain.ts", 'import { X } from "../http/publish.ts";'],
    ["lib/http/publish.ts", 'const x = await import("../logs/mod.ts");'],
    ["lib/http/publish.ts", 'import { X } from "../protocols/mod.ts";'],
    ["lib/http/publish.ts", 'import { X } from "../app.ts";'],
    ["lib/http/publish.ts", 'Deno.env.get("PORT");'],
    ["lib/listeners/deno.ts", "Deno.exit(1);"],
    ["lib/listeners/node.ts", 'import { X } from "../protocols/mod.ts";'],
    ["lib/auth/origin.ts", 'import { X } from "../config.ts";'],
    ["lib/config.ts", "process.env;"],
    ["lib/config.ts", 'import { X } from "./app.ts";'],
    ["lib/config.ts", "Deno.args;"],
    ["lib/app.ts", 'import { X } from "./logs/memory.ts";'],
    ["lib/app.ts", 'import { X } from "./protocols/plain.ts";'],
    ["lib/app.ts", 'import { X } from "./listeners/deno.ts";'],
    ["lib/app.ts", 'import { X } from "../server.ts";'],
    ["lib/app.ts", 'import { X } from "./utils.ts";'],
    ["lib/app.ts", "Deno.addSignalListener;"],
    ["lib/clients/hello.ts", 'import { X } from "../logs/mod.ts";'],
    ["lib/shiny/new.ts", 'import { X } from "../core/channel.ts";'],
    ["server.ts", 'import { X } from "./lib/logs/mod.ts";'],
    ["server.ts", 'import { X } from "./lib/http/publish.ts";'],
  ];
  for (const [path, text] of forbidden) {
    const violations = findViolations([{ path, text }]);
    assert.ok(violations.length > 0, `${path} may not say ${text}`);
    assert.ok(violations.every((line) => line.startsWith(path)));
  }
  const [arrow] = findViolations([{ path: "lib/core/a.ts", text: 'import "../logs/mod.ts";' }]);
  assert.equal(arrow, "lib/core/a.ts -> ../logs/mod.ts: core may import itself");
});

Deno.test("the guard lets every arrow of the table pass", () => {
  const allowed: readonly [path: string, text: string][] = [
    ["lib/core/hub.ts", 'import { X } from "./log.ts";\n// Deno.serve'],
    ["lib/logs/sqlite.ts", 'import { X } from "node:sqlite";\nimport { Y } from "./stamp.ts";'],
    ["lib/logs/mod.ts", 'import { X } from "./memory.ts";\nimport { Y } from "./sqlite.ts";'],
    ["lib/protocols/plain.ts", 'import { X } from "./protocol.ts";\nimport { Y } from "../auth/grants.ts";'],
    ["lib/protocols/centrifuge.ts", 'import { X } from "./centrifuge_codec.ts";'],
    ["lib/logs/sqlite_writer.ts", 'import { X } from "./sqlite_row.ts";'],
    ["lib/http/publish.ts", 'import { X } from "./problem.ts";\nimport { Hono } from "hono";'],
    ["lib/listeners/deno.ts", 'import { X } from "../core/socket.ts";\nDeno.serve();'],
    ["lib/config_options.ts", 'import { X } from "./logs/mod.ts";'],
    ["lib/app.ts", 'import { X } from "./logs/mod.ts";\nimport { Y } from "./http/publish.ts";'],
    ["lib/clients/hello.ts", "Deno.args;"],
    ["server.ts", 'import { X } from "./lib/app.ts";\nimport "./lib/listeners/mod.ts";\nDeno.exit(1);'],
  ];
  for (const [path, text] of allowed) assert.deepEqual(findViolations([{ path, text }]), []);
});
