/** Answers a GET for a page or a part of one: which file a path shows, and how browsers may keep it. `app.ts` asks. */
import { MessagingError } from "../core/errors.ts";
import { type Asset, type Assets, type Coding, CODINGS, loadAssets } from "./assets.ts";
import { BROWSER_PACKAGES } from "./browser_packages.ts";

/** Pages and other files that have a path of their own; what is not here or below is a channel's. */
const FILES: Readonly<Record<string, string>> = {
  "/": "home.html",
  "/_inspect": "inspect.html",
  "/favicon.ico": "favicon.svg",
  "/robots.txt": "robots.txt",
};
const EXAMPLES = "/_examples/";
const STATIC = "/_static/";
const CHANNEL_PAGE = "channel.html";

/** For pages and pictures: strict enough that text which slipped in as markup could still not run or call home. */
const DOCUMENT_HEADERS = {
  "content-security-policy": "default-src 'self'; img-src 'self' blob:; base-uri 'none'; " +
    "form-action 'self'; frame-ancestors 'self'; object-src 'none'",
  "cross-origin-opener-policy": "same-origin",
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
};

/** Scripts and styles go by the policy of the page they are part of. */
const PART_HEADERS = { "x-content-type-options": "nosniff" };

/** A URL with the version in it never shows anything else. */
const IMMUTABLE = "public, max-age=31536000, immutable";
/** Kept, and asked for again by its etag. */
const REVALIDATE = "no-cache";

/** The pages and their parts. */
export class Pages {
  readonly #assets: Assets;

  private constructor(assets: Assets) {
    this.#assets = assets;
  }

  /** Reads everything below a folder. */
  static async load(folder: URL): Promise<Pages> {
    return new Pages(await loadAssets(folder, BROWSER_PACKAGES));
  }

  /** Whether a path is a page or a part of one, and never a channel. `/` is both. */
  owns(pathname: string): boolean {
    return (pathname !== "/" && pathname in FILES) ||
      [STATIC, EXAMPLES].some((root) => pathname.startsWith(root));
  }

  /**
   * Answers with what a path shows; every path that is not its own is a channel's.
   *
   * @throws {MessagingError} `not_found`
   */
  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const { version } = this.#assets;
    const versioned = `${STATIC}${version}/`;
    const asset = this.#find(pathname.startsWith(versioned) ? pathname.replace(versioned, STATIC) : pathname);
    const isKept = pathname.startsWith(versioned);
    const accepted = request.headers.get("accept-encoding") ?? "";
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

  #find(pathname: string): Asset {
    const path = toFile(pathname);
    // Pages that were opened before an update may still ask for parts by the version they know.
    const asset = this.#assets.files.get(path) ?? this.#assets.files.get(path.replace(/^[0-9a-f]{12}\//, ""));
    if (asset === undefined) {
      throw new MessagingError("not_found", `There is no ${JSON.stringify(pathname)} here`);
    }
    return asset;
  }
}

function toFile(pathname: string): string {
  const file = Object.hasOwn(FILES, pathname) ? FILES[pathname] : undefined;
  if (file !== undefined) return file;
  if (pathname.startsWith(STATIC)) return pathname.slice(STATIC.length);
  if (pathname.startsWith(EXAMPLES)) return `examples/${pathname.slice(EXAMPLES.length)}.html`;
  return CHANNEL_PAGE;
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
