/**
 * Loads the files of `static/` and of the browser packages: joins the parts of pages and styles, renders the manual, strips
 * types from TypeScript, turns bare imports into URLs of this origin, and puts the version of all files into every URL.
 * `pages.ts` serves them.
 *
 * Files are read at start, so that they are of one version. Each is prepared when it is first asked for: to prepare all of
 * them took a quarter of the time that a server, or a worker of it, takes to start.
 */
import { createHash } from "node:crypto";
import { stripTypeScriptTypes } from "node:module";
import { posix } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { Manual } from "./manual.ts";

/** Content codings of assets (RFC 9110 section 8.4.1), the preferred one first. */
export const CODINGS = ["br", "gzip"] as const;

export type Coding = typeof CODINGS[number];

/** The path of assets. In text files of `static/`, the version is inserted into URLs that begin with it. */
const ROOT = "/_static/";
const VENDOR = "vendor/";
const DOCS = "docs/";
/** The page into which the manual is rendered. */
const DOCS_TEMPLATE = "docs.html";

const TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  json: "application/json",
  png: "image/png",
  svg: "image/svg+xml",
  ts: "text/javascript; charset=utf-8",
  txt: "text/plain; charset=utf-8",
  webmanifest: "application/manifest+json",
};

/** Smallest asset that is compressed: below it, the headers cost more than is saved. */
const MIN_COMPRESSED_BYTES = 512;
/** Higher qualities take ten times as long to save another twentieth of the bytes. */
const BROTLI_QUALITY = 9;

/** Static imports but those of types, as deno fmt formats them, and dynamic ones. */
const STATIC_IMPORT = /^(?:import\b(?! type\b)|export [{*])[^;"`]*?"([^"\n]+)"/gm;
const DYNAMIC_IMPORT = /\bimport\("([^"\n]+)"\)/g;

/** A line of a page that stands for what it shares with others: a file of `parts/`. */
const PAGE_PART = /^ *<!-- part: (\w+\.html) -->$/gm;
const PARTS = "parts/";
/**
 * How the head of every page begins, before its title and what is its own. The script comes before the styles, so that
 * the colours are there at the first paint.
 */
const HEAD = "parts/head.html";
/** A line of a style that stands for another file. */
const STYLE_IMPORT = /^@import "(\.[^"\n]+)";\n/gm;

const UTF8 = new TextEncoder();

/** One file as it is sent. */
export class Asset {
  readonly type: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Changes with the content. */
  readonly hash: string;
  readonly #encoded = new Map<Coding, Promise<Uint8Array<ArrayBuffer>>>();

  constructor(type: string, body: Uint8Array<ArrayBuffer>) {
    this.type = type;
    this.body = body;
    this.hash = digest([body]);
  }

  /** Whether compression is worthwhile: images are compressed already. */
  get isCompressible(): boolean {
    return this.type !== TYPES.png && this.body.byteLength >= MIN_COMPRESSED_BYTES;
  }

  /** The body in a coding. Compressed on first use, off the main thread, and cached. */
  encode(coding: Coding): Promise<Uint8Array<ArrayBuffer>> {
    let encoded = this.#encoded.get(coding);
    if (encoded === undefined) this.#encoded.set(coding, encoded = compress(this.body, coding));
    return encoded;
  }
}

/**
 * Reads all files below a folder, once.
 *
 * @param packages other files by their name below `vendor/`
 * @param facts about this server, which pages find as `data-` attributes of their root
 */
export async function loadAssets(
  folder: URL,
  packages: Readonly<Record<string, string>>,
  facts: Readonly<Record<string, string>> = {},
): Promise<Assets> {
  const sources = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [name, text] of Object.entries(packages)) sources.set(VENDOR + name, UTF8.encode(text));
  await readFolder(folder, "", sources);
  // Not part of the pages: it is there for the type checker.
  sources.delete("deno.json");
  const head = decode(sources.get(HEAD)).trimEnd().replaceAll(/^/gm, "    ");
  sources.delete(HEAD);
  joinParts(sources);
  for (const path of [...sources.keys()].filter((path) => path.endsWith(".html"))) {
    const attributes = Object.entries(facts).map(([name, value]) => ` data-${name}="${value}"`).join("");
    const html = decode(sources.get(path)).replace('<html lang="en"', `$&${attributes}`)
      .replace("<head>", (start) => `${start}\n${head}`);
    sources.set(path, UTF8.encode(html));
  }
  return new Assets(sources);
}

/** The files of pages by their path below `/_static/`, as browsers get them. */
export class Assets {
  /** One for all files, so that relative imports of a module resolve within its version. */
  readonly version: string;
  readonly #sources: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  readonly #manual: Manual;
  readonly #assets = new Map<string, Promise<Asset>>();

  /** Use {@linkcode loadAssets}. */
  constructor(sources: Map<string, Uint8Array<ArrayBuffer>>) {
    const paths = [...sources.keys()].sort();
    this.version = digest(paths.flatMap((path) => [UTF8.encode(`${path}\n`), sources.get(path)!]));
    this.#manual = takeManual(sources);
    this.#sources = sources;
  }

  /** The paths of all files. */
  get paths(): readonly string[] {
    return [...this.#sources.keys(), ...this.#manual.files.map((name) => DOCS + name)];
  }

  /** The file of a path; undefined if there is none. */
  find(path: string): Promise<Asset> | undefined {
    let asset = this.#assets.get(path);
    if (asset === undefined && this.#has(path)) this.#assets.set(path, asset = this.#prepare(path));
    return asset;
  }

  #has(path: string): boolean {
    return this.#sources.has(path) || this.#isOfManual(path);
  }

  #isOfManual(path: string): boolean {
    return path.startsWith(DOCS) && this.#manual.files.includes(path.slice(DOCS.length));
  }

  async #prepare(path: string): Promise<Asset> {
    const extension = extensionOf(path);
    const type = TYPES[extension] ?? "";
    const source = this.#sources.get(path);
    if (source !== undefined && (extension === "png" || path.startsWith(VENDOR))) {
      return new Asset(type, source);
    }
    const text = this.#isOfManual(path) ? await this.#manual.render(path.slice(DOCS.length)) : decode(source);
    let prepared = text.replaceAll(`"${ROOT}`, `"${ROOT}${this.version}/`);
    if (extension === "ts") prepared = this.#toJavaScript(path, prepared);
    if (extension === "html") prepared = this.#preload(prepared);
    return new Asset(type, UTF8.encode(prepared));
  }

  #toJavaScript(path: string, text: string): string {
    const resolve = (statement: string, specifier: string) => {
      if (/^[./]/.test(specifier)) return statement;
      if (!this.#sources.has(toVendor(specifier))) {
        throw new TypeError(`${path} imports "${specifier}", which is not among the browser packages`);
      }
      return statement.replace(`"${specifier}"`, `"${ROOT}${this.version}/${toVendor(specifier)}"`);
    };
    return stripTypeScriptTypes(text, { mode: "strip" })
      .replaceAll(STATIC_IMPORT, resolve)
      .replaceAll(DYNAMIC_IMPORT, resolve);
  }

  /** Adds preload links for the modules of a page, so that they are fetched in parallel. */
  #preload(html: string): string {
    const root = `${ROOT}${this.version}/`;
    const entry = /<script type="module" src="([^"]+)"/.exec(html);
    if (entry?.[1] === undefined) return html;
    const found = new Set<string>();
    const visit = (path: string) => {
      for (const [, specifier = ""] of decode(this.#sources.get(path)).matchAll(STATIC_IMPORT)) {
        const target = /^[./]/.test(specifier)
          ? posix.resolve(posix.dirname(ROOT + path), specifier).slice(ROOT.length)
          : toVendor(specifier);
        if (found.has(target) || !this.#sources.has(target)) continue;
        found.add(target);
        visit(target);
      }
    };
    visit(entry[1].slice(root.length));
    const links = [...found].map((path) => `<link rel="modulepreload" href="${root}${path}" />\n    `);
    return html.replace(entry[0], () => links.join("") + entry[0]);
  }
}

async function readFolder(
  folder: URL,
  prefix: string,
  sources: Map<string, Uint8Array<ArrayBuffer>>,
): Promise<void> {
  for await (const entry of Deno.readDir(folder)) {
    const url = new URL(entry.name, folder);
    if (entry.isDirectory) await readFolder(new URL(`${url}/`), `${prefix}${entry.name}/`, sources);
    else if (entry.isFile && (extensionOf(entry.name) in TYPES || isManual(prefix + entry.name))) {
      sources.set(prefix + entry.name, await Deno.readFile(url));
    }
  }
}

function isManual(path: string): boolean {
  return path.startsWith(DOCS) && path.endsWith(".md");
}

/** Puts the parts of each page and style where it names them, so that one request brings all. Parts have no parts. */
function joinParts(sources: Map<string, Uint8Array<ArrayBuffer>>): void {
  const parts = new Set<string>();
  const find = (path: string, part: string) => {
    const content = sources.get(part);
    if (content === undefined) throw new TypeError(`${path} has the part ${part}, which is not there`);
    parts.add(part);
    return decode(content);
  };
  for (const [path, bytes] of sources) {
    const extension = extensionOf(path);
    if ((extension !== "css" && extension !== "html") || path.startsWith(VENDOR)) continue;
    const text = decode(bytes)
      .replaceAll(PAGE_PART, (_, name: string) => find(path, PARTS + name).trimEnd())
      .replaceAll(STYLE_IMPORT, (_, name: string) => find(path, posix.join(posix.dirname(path), name)));
    sources.set(path, UTF8.encode(text));
  }
  for (const part of parts) sources.delete(part);
}

/** Takes the sources of the manual and its template from those of all files. */
function takeManual(sources: Map<string, Uint8Array<ArrayBuffer>>): Manual {
  const paths = [...sources.keys()].filter(isManual).sort();
  const texts = new Map(
    paths.map((path) => [path.slice(DOCS.length, -".md".length), decode(sources.get(path))]),
  );
  const template = decode(sources.get(DOCS_TEMPLATE));
  for (const path of [...paths, DOCS_TEMPLATE]) sources.delete(path);
  return new Manual(texts, template);
}

/** Where the package is that a module imports by its bare name. */
function toVendor(specifier: string): string {
  return `${VENDOR}${specifier}.js`;
}

function decode(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes);
}

function extensionOf(path: string): string {
  return path.split(".").at(-1) ?? "";
}

function digest(parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex").slice(0, 12);
}

async function compress(body: Uint8Array, coding: Coding): Promise<Uint8Array<ArrayBuffer>> {
  const params = { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY };
  return new Uint8Array(
    coding === "br"
      ? await promisify(brotliCompress)(body, { params })
      : await promisify(gzip)(body, { level: 9 }),
  );
}
