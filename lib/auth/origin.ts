/**
 * Decides which web pages may use the server, by the Origin header and the Fetch Metadata headers of browsers, which
 * pages cannot forge. Other clients send none of them and are admitted. Cookies are not used.
 */
import { isWithin, parseNetwork } from "../base/address.ts";
import { MessagingError } from "../core/errors.ts";

export interface OriginPolicy {
  /** Allowed origins besides the same origin; `*` allows all. */
  readonly origins: readonly string[];
  /** The server listens on loopback and needs no key: pages from disk and any localhost port are trusted too. */
  readonly openOnLoopback: boolean;
  /** Whether pages from disk are not trusted there after all, as frames in a sandbox can pass for them. */
  readonly noNullOrigin?: boolean;
}

/** Origins of apps and extensions, such as `capacitor://localhost` and `chrome-extension://ID`. */
const APP_ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@,*]*$/;

/**
 * Checks one configured origin: `*`, `null` for pages from disk, or scheme, host and port as browsers send them.
 *
 * @throws {SyntaxError} saying what an origin looks like
 */
export function parseOrigin(text: string): string {
  if (text === "*" || text === "null") return text;
  const isWeb = /^(?:https?|wss?|ftp):/.test(text);
  const isOrigin = isWeb ? URL.canParse(text) && new URL(text).origin === text : APP_ORIGIN.test(text);
  if (!isOrigin) {
    throw new SyntaxError(
      `${JSON.stringify(text)} is not an origin: write it like https://example.org, without a path`,
    );
  }
  return text;
}

/** The ports of an origin that names none. */
const DEFAULT_PORTS: ReadonlyMap<string, string> = new Map([["http:", "80"], ["https:", "443"]]);

/** IPv4 addresses in IPv6, such as `::ffff:127.0.0.1`, count as IPv4. */
const LOOPBACK = ["127.0.0.0/8", "::1"].map(parseNetwork);

/** Whether a host name or address, without port and with or without brackets, means this machine. */
export function isLoopback(hostname: string): boolean {
  if (hostname.includes(":")) return isWithin(hostname.replace(/^\[(.*)\]$/, "$1"), LOOPBACK);
  return hostname === "localhost" || hostname.endsWith(".localhost") ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(hostname);
}

/**
 * Refuses requests of pages whose origin is not allowed.
 *
 * An open server on loopback must also be addressed by a loopback name: otherwise a page could point its own host name
 * at 127.0.0.1 and pass for the same origin (DNS rebinding).
 *
 * @param origin the Origin header, if it was read already
 * @throws {MessagingError} `bad_host`, `wrong_host` or `origin_refused`
 */
export function checkOrigin(
  request: Request,
  policy: OriginPolicy,
  origin: string | null = request.headers.get("origin"),
): void {
  const { host, hostname, port, isLocal } = parseAuthority(request);
  const allowsAll = policy.origins.includes("*");
  const isAddressed = (origin: string) => isSameHost(origin, hostname, port);
  if (policy.openOnLoopback && !isLocal && !allowsAll && !policy.origins.some(isAddressed)) {
    throw new MessagingError(
      "wrong_host",
      `This server listens on loopback and was addressed as ${JSON.stringify(host)}: ` +
        `behind a proxy start it with --trusted-proxy, else allow that name with --origins https://${host}`,
    );
  }
  if (origin !== null && (allowsAll || policy.origins.includes(origin.toLowerCase()))) return;
  if (origin === null) return checkFetchMetadata(request, policy);
  checkNavigation(request);
  if (origin !== "null" && URL.canParse(origin)) {
    if (isAddressed(origin) || (policy.openOnLoopback && isLoopback(new URL(origin).hostname))) return;
  } else if (policy.openOnLoopback && origin === "null" && !policy.noNullOrigin) {
    return checkNullOrigin(request, host);
  }
  throw new MessagingError(
    "origin_refused",
    `Pages of ${JSON.stringify(origin)} may not use this server: allow them with --origins`,
  );
}

/**
 * Forms and links of any page can make a browser send a request: they may read, which shows their own page nothing, and
 * change nothing.
 *
 * @throws {MessagingError} `origin_refused`
 */
function checkNavigation({ method, headers }: Request): void {
  if (headers.get("sec-fetch-mode") !== "navigate" || method === "GET" || method === "HEAD") return;
  throw new MessagingError(
    "origin_refused",
    "Forms may not send to this server: send by script, or allow the page's origin with --origins",
  );
}

/**
 * Pages from disk have the origin "null", and so have frames in a sandbox, whose page may be of any site. Browsers call
 * requests of both cross-site. A WebSocket is let in all the same: browsers say nothing more of it, or the same of
 * both.
 *
 * @throws {MessagingError} `origin_refused`
 */
function checkNullOrigin({ headers }: Request, host: string): void {
  const isSocket = headers.get("sec-fetch-mode") === "websocket";
  const isForeign = headers.get("sec-fetch-site") === "cross-site" && !isSocket;
  // A page from disk has no address that it could refer to.
  const referrer = headers.get("referer");
  const isFramed = referrer !== null && !(URL.canParse(referrer) && new URL(referrer).host === host);
  if (!isForeign && !isFramed) return;
  throw new MessagingError(
    "origin_refused",
    "A page from disk may open WebSockets here, as its other requests look like those of any site's sandboxed frame: " +
      "serve it from http://localhost, or allow such pages with --origins null",
  );
}

/**
 * Whether a web origin has the host name and port that a request is addressed to. Behind a TLS proxy the request's
 * scheme is not the page's, so that a port that is left out is the default of the origin's scheme.
 *
 * @param port empty if the request names none
 */
function isSameHost(origin: string, hostname: string, port: string): boolean {
  if (!URL.canParse(origin)) return false;
  const page = new URL(origin);
  const standard = DEFAULT_PORTS.get(page.protocol);
  return standard !== undefined && page.hostname === hostname &&
    (page.port || standard) === (port || standard);
}

/** What a request is addressed to. */
interface Authority {
  readonly host: string;
  readonly hostname: string;
  /** Empty if the request names none. */
  readonly port: string;
  /** Whether it means this machine. */
  readonly isLocal: boolean;
}

// Nearly all requests have the same authority, and parsing a URL costs as much as storing a message.
let lastHost: string | null = null;
let lastOrigin = "";
let lastAuthority: Authority | undefined;

/**
 * The host and port that a request is addressed to.
 *
 * @throws {MessagingError} `bad_host`
 */
function parseAuthority({ url, headers }: Request): Authority {
  // The runtime builds the URL from the Host header, whatever that holds.
  const header = headers.get("host");
  const end = url.indexOf("/", url.indexOf("//") + 2);
  const origin = end < 0 ? url : url.slice(0, end);
  if (lastAuthority !== undefined && header === lastHost && origin === lastOrigin) return lastAuthority;
  if ((header !== null && !/^[\w.\-:[\]]+$/.test(header)) || !URL.canParse(url)) {
    throw new MessagingError(
      "bad_host",
      "The Host header must be a host name or address, and a port if need be",
    );
  }
  const { host, hostname, port } = new URL(origin);
  lastHost = header;
  lastOrigin = origin;
  return lastAuthority = {
    host,
    hostname,
    port: /:(\d+)$/.exec(header ?? "")?.[1] ?? port,
    isLocal: isLoopback(hostname),
  };
}

/**
 * Browsers send no Origin for what a page embeds, such as an image: Fetch Metadata says whether the page is of another
 * site. Links from other sites are allowed.
 */
function checkFetchMetadata(request: Request, policy: OriginPolicy): void {
  const { headers } = request;
  const site = headers.get("sec-fetch-site");
  // Programs send none of these headers, and browsers all of them.
  if (site === null) return;
  checkNavigation(request);
  const isForeign = site === "cross-site" || (site === "same-site" && !policy.openOnLoopback);
  if (!isForeign || headers.get("sec-fetch-mode") === "navigate" || policy.origins.includes("*")) return;
  throw new MessagingError(
    "origin_refused",
    "Other sites may not embed resources of this server: allow them with --origins",
  );
}
