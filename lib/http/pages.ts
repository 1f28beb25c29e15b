/**
 * The pages and their parts: everything below `static/`, read once at start, TypeScript served as JavaScript with
 * its types stripped. `app.ts` routes to it.
 */
import { stripTypeScriptTypes } from "node:module";
import { etag } from "hono/etag";
import { Hono } from "hono";
import { MessagingError } from "../core/errors.ts";

interface Asset {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly type: string;
}

const TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  png: "image/png",
  svg: "image/svg+xml",
  ts: "text/javascript; charset=utf-8",
};

/** Strict enough that text which slipped into a page as markup could still not run or call home. */
const PAGE_HEADERS = {
  "cache-control": "no-cache",
  "content-security-policy":
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'; object-src 'none'",
  "cross-origin-opener-policy": "same-origin",
  "referrer-policy": "same-origin",
  "vary": "accept",
  "x-content-type-options": "nosniff",
};

const UTF8 = new TextEncoder();

/** Where packages for the browser are served, by the specifier that names them in `static/`. */
const PACKAGES = "/_static/vendor/";

/** The files of `static/`, ready to be sent. */
export class Pages {
  readonly #assets: ReadonlyMap<string, Asset>;
  readonly #routes = new Hono();

  private constructor(assets: ReadonlyMap<string, Asset>) {
    this.#assets = assets;
    this.#routes.onError((error) => {
      throw error;
    });
    this.#routes.use(etag());
    this.#routes.get("/_static/:path{.+}", (c) => this.#send(c.req.param("path")));
    this.#routes.get("/_examples/:name", (c) => this.#send(`examples/${c.req.param("name")}.html`));
    this.#routes.get("/favicon.ico", () => this.#send("favicon.svg"));
    this.#routes.get("/robots.txt", () => new Response("User-agent: *\nDisallow: /\n"));
    this.#routes.get("/", () => this.#send("home.html"));
    this.#routes.get("*", () => this.#send("channel.html"));
  }

  /**
   * Reads all files below a folder.
   *
   * @param packages JavaScript modules for the browser by package name; a bare import of one is rewritten to it
   */
  static async load(folder: URL, packages: Readonly<Record<string, string>>): Promise<Pages> {
    const assets = new Map<string, Asset>();
    for (const [name, body] of Object.entries(packages)) {
      assets.set(`vendor/${name}.js`, { body: UTF8.encode(body), type: TYPES.js ?? "" });
    }
    await readFolder(folder, "", assets, Object.keys(packages));
    return new Pages(assets);
  }

  /** Answers a GET for a page or a part of one; every other path is a channel's page. */
  async fetch(request: Request): Promise<Response> {
    return await this.#routes.fetch(request);
  }

  #send(path: string): Response {
    const asset = this.#assets.get(path);
    if (asset === undefined) {
      throw new MessagingError("not_found", `There is no ${JSON.stringify(path)} here`);
    }
    const length = String(asset.body.byteLength);
    return new Response(asset.body, {
      headers: { ...PAGE_HEADERS, "content-length": length, "content-type": asset.type },
    });
  }
}

async function readFolder(
  folder: URL,
  prefix: string,
  assets: Map<string, Asset>,
  packages: readonly string[],
): Promise<void> {
  for await (const entry of Deno.readDir(folder)) {
    const url = new URL(entry.name, folder);
    const path = prefix + entry.name;
    const extension = entry.name.split(".").at(-1) ?? "";
    const type = TYPES[extension];
    if (entry.isDirectory) await readFolder(new URL(`${url}/`), `${path}/`, assets, packages);
    else if (type === undefined || !entry.isFile) continue;
    else if (extension === "ts") {
      assets.set(path, { body: UTF8.encode(toJavaScript(await Deno.readTextFile(url), packages)), type });
    } else assets.set(path, { body: await Deno.readFile(url), type });
  }
}

function toJavaScript(source: string, packages: readonly string[]): string {
  let code = stripTypeScriptTypes(source, { mode: "strip" });
  for (const name of packages) code = code.replaceAll(`from "${name}"`, `from "${PACKAGES}${name}.js"`);
  return code;
}
