/** Serves pages and their assets: which file a path shows, and how browsers may cache it. `app.ts` calls it. */
import { quote } from "../base/quote.ts";
import { MessagingError } from "../core/errors.ts";
import { PROBLEM_TYPE } from "../http/problem.ts";
import { type Asset, type Assets, type Coding, CODINGS, loadAssets } from "./assets.ts";
import { BROWSER_PACKAGES } from "./browser_packages.ts";
import { describeProblem } from "./error_page.ts";
import { fillTemplate, MANUAL } from "./manual.ts";
import { findPath } from "./suggestion.ts";

/** Files with a path of their own. Any other path, outside of the folders below, belongs to a channel. */
const FILES: Readonly<Record<string, string>> = {
  "/": "home.html",
  [MANUAL]: "docs/index.html",
  [`${MANUAL}/`]: "docs/index.html",
  [`${MANUAL}/README.md`]: "docs/index.html",
  [`${MANUAL}/search.json`]: "docs/search.json",
  "/_inspect": "inspect.html",
  "/_offline": "offline.html",
  // At the root, as a worker is for the paths below its own.
  "/_offline.js": "offline_worker.ts",
  "/favicon.ico": "favicon.svg",
  "/_push/worker.js": "push_worker.ts",
  "/robots.txt": "robots.txt",
};
const EXAMPLES = "/_examples/";
const STATIC = "/_static/";
/** Where the Open box of the home page goes: on to the channel that its text names. */
const OPEN = "/_open";
const CHANNEL_PAGE = "channel.html";
const PATTERN_PAGE = "pattern.html";
const ERROR_PAGE = "error.html";

/** For pages and images: strict enough that injected markup could neither run scripts nor send data elsewhere. */
const DOCUMENT_HEADERS = {
  "content-security-policy": "default-src 'self'; img-src 'self' blob:; base-uri 'none'; " +
    "form-action 'self'; frame-ancestors 'self'; object-src 'none'",
  "cross-origin-opener-policy": "same-origin",
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
};

/** For scripts and styles, which follow the policy of their page. */
const PART_HEADERS = { "x-content-type-options": "nosniff" };

/** For URLs with a version, whose content never changes. */
const IMMUTABLE = "public, max-age=31536000, immutable";
/** For other URLs: cached, and revalidated by ETag. */
const REVALIDATE = "no-cache";

/** What pages know of their server. */
export interface Facts {
  /** What reading and publishing takes: nothing, a token, or an API key. Rules may allow some of it without. */
  readonly credential: "none" | "token" | "key";
  /** Largest message, in bytes. */
  readonly maxMessageBytes: number;
  /** Whether the messages of any channel are pushed. */
  readonly pushes: boolean;
  /** Who is an operator: everybody, or whoever has an API key. */
  readonly operators: "all" | "key";
}

/** The pages and their assets. */
export class Pages {
  readonly #assets: Assets;

  private constructor(assets: Assets) {
    this.#assets = assets;
  }

  /**
   * Reads everything below a folder.
   *
   * @param facts what pages tell people about this server
   */
  static async load(
    folder: URL,
    { credential, maxMessageBytes, operators, pushes }: Facts,
  ): Promise<Pages> {
    const facts = {
      credential,
      operators,
      "max-message-bytes": String(maxMessageBytes),
      ...(pushes ? { pushes: "true" } : {}),
    };
    return new Pages(await loadAssets(folder, BROWSER_PACKAGES, facts));
  }

  /** Whether a path belongs to a page or asset and not to a channel. `/` belongs to both, and is not owned. */
  owns(pathname: string): boolean {
    return (pathname !== "/" && pathname in FILES) || pathname === OPEN ||
      [STATIC, EXAMPLES, `${MANUAL}/`].some((root) => pathname.startsWith(root));
  }

  /**
   * Serves the file of a path; any path without one gets the page of a channel, or of a list or pattern.
   *
   * @throws {MessagingError} `not_found`
   */
  async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams, host } = new URL(request.url);
    if (pathname === OPEN) return redirectTo(searchParams.get("name") ?? "", host);
    const { version } = this.#assets;
    const versioned = `${STATIC}${version}/`;
    const asset = await this.#find(
      pathname.startsWith(versioned) ? pathname.replace(versioned, STATIC) : pathname,
    );
    const isKept = pathname.startsWith(versioned);
    const accepted = request.headers.get("accept-encoding")?.toLowerCase() ?? "";
    const coding = asset.isCompressible ? CODINGS.find((coding) => accepts(accepted, coding)) : undefined;
    const etag = `"${asset.hash}${coding === undefined ? "" : `-${coding}`}"`;
    const headers = {
      ...(/html|svg/.test(asset.type) ? DOCUMENT_HEADERS : PART_HEADERS),
      "cache-control": isKept ? IMMUTABLE : REVALIDATE,
      etag,
      vary: isKept ? "accept-encoding" : "accept, accept-encoding",
    };
    if (matches(request.headers.get("if-none-match"), etag)) {
      return new Response(null, { status: 304, headers });
    }
    const body = coding === undefined ? asset.body : await asset.encode(coding);
    return new Response(body, {
      headers: {
        ...headers,
        "content-length": String(body.byteLength),
        "content-type": asset.type,
        ...(coding === undefined ? {} : { "content-encoding": coding }),
      },
    });
  }

  /** Shows a person the problem that a program gets, with its status and headers; other answers as they are. */
  async showProblem(request: Request, response: Response): Promise<Response> {
    if (response.headers.get("content-type") !== PROBLEM_TYPE) return response;
    const headers = new Headers({ ...Object.fromEntries(response.headers), ...DOCUMENT_HEADERS });
    headers.set("content-type", "text/html; charset=utf-8");
    headers.set("vary", "accept");
    const { status } = response;
    if (request.method === "HEAD") return new Response(null, { status, headers });
    const template = new TextDecoder().decode((await this.#assets.find(ERROR_PAGE))?.body);
    const html = fillTemplate(template, describeProblem(request.url, await response.json()));
    return new Response(html, { status, headers });
  }

  #find(pathname: string): Promise<Asset> {
    const path = toFile(pathname);
    // Pages opened before an update may still request assets of the old version.
    const asset = this.#assets.find(path) ?? this.#assets.find(path.replace(/^[0-9a-f]{12}\//, ""));
    if (asset === undefined) {
      throw new MessagingError(
        "not_found",
        pathname.startsWith(`${MANUAL}/`)
          ? `The manual has no page at ${pathname}: all pages are listed at ${MANUAL}`
          : `There is no page at ${pathname}`,
      );
    }
    return asset;
  }
}

/** @throws {MessagingError} `bad_channel` for a text of which nothing can be a name */
function redirectTo(text: string, host: string): Response {
  const location = findPath(text, host);
  if (location === undefined) {
    throw new MessagingError(
      "bad_channel",
      `No channel can be named by ${quote(text)}: use letters and digits`,
    );
  }
  return new Response(null, { status: 303, headers: { location, "cache-control": "no-store" } });
}

function toFile(pathname: string): string {
  const file = Object.hasOwn(FILES, pathname) ? FILES[pathname] : undefined;
  if (file !== undefined) return file;
  if (pathname.startsWith(STATIC)) return pathname.slice(STATIC.length);
  if (pathname.startsWith(EXAMPLES)) return `examples/${pathname.slice(EXAMPLES.length)}.html`;
  if (pathname.startsWith(`${MANUAL}/`)) {
    // With the file's name too, so that links work here as they do in a repository.
    return `docs/${pathname.slice(MANUAL.length + 1).replace(/\.md$/, "")}.html`;
  }
  return isPattern(pathname) ? PATTERN_PAGE : CHANNEL_PAGE;
}

/** Whether a path reads several channels: a list, or a pattern, whose star may be escaped. */
function isPattern(pathname: string): boolean {
  return /[,*]|%2a/i.test(pathname);
}

/** Whether `Accept-Encoding` names a coding without refusing it (RFC 9110 section 12.5.3). */
function accepts(header: string, coding: Coding): boolean {
  return header.toLowerCase().split(",").some((part) => {
    const [name, weight] = part.split(";").map((text) => text.trim());
    return name === coding && !/^q=0(\.0*)?$/.test(weight ?? "");
  });
}

/** Whether `If-None-Match` names an etag (RFC 9110 section 13.1.2). */
function matches(header: string | null, etag: string): boolean {
  return header?.split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag) ??
    false;
}
