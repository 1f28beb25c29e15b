/**
 * A Request whose head and body have arrived. Making one of the platform's costs as much as the rest of a publish, so
 * that this one is that only for whoever needs more than a publish does.
 */
import type { WholeRequest } from "../../core/socket.ts";
import type { PlainHead } from "./plain_head.ts";
import { standInFor } from "./stand_in.ts";

/**
 * Makes a request.
 *
 * @param body what is read is a view of it
 * @throws {TypeError} when scheme, host and target are no URL
 */
export function createPlainRequest(
  head: PlainHead,
  body: Uint8Array,
  scheme: "http" | "https",
): WholeRequest {
  return new PlainRequest(head, body, findUrl(head, scheme)) as unknown as WholeRequest;
}

/** The fields of a head, with names in lower case. */
class PlainHeaders {
  readonly #fields: readonly [string, string][];
  #real: Headers | undefined;

  constructor(fields: readonly [string, string][]) {
    this.#fields = fields;
  }

  get real(): Headers {
    return this.#real ??= new Headers(this.#fields as [string, string][]);
  }

  get(name: string): string | null {
    if (this.#real !== undefined) return this.#real.get(name);
    const key = name.toLowerCase();
    let found: string | null = null;
    for (const [field, value] of this.#fields) {
      if (field === key) found = found === null ? value : `${found}, ${value}`;
    }
    return found;
  }

  has(name: string): boolean {
    return this.get(name) !== null;
  }
}
standInFor(PlainHeaders, Headers);

class PlainRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly #body: Uint8Array;
  #isUsed = false;
  #real: Request | undefined;

  constructor(head: PlainHead, body: Uint8Array, url: string) {
    this.url = url;
    this.method = head.method;
    this.headers = new PlainHeaders(head.headers) as unknown as Headers;
    this.#body = body;
  }

  get real(): Request {
    if (this.#real !== undefined) return this.#real;
    const { url, method, headers } = this;
    // A GET has no body.
    const body = this.#body.length === 0 ? null : this.#viewBody();
    const real = new Request(url, { method, headers: [...headers], body });
    // Nobody reads the same body twice.
    if (this.#isUsed) void real.body?.cancel();
    return this.#real = real;
  }

  get bodyUsed(): boolean {
    return this.#isUsed || this.#real?.bodyUsed === true;
  }

  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = this.takeBytes();
    return bytes === undefined ? this.real.bytes() : Promise.resolve(bytes);
  }

  takeBytes(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#real !== undefined || this.#isUsed) return undefined;
    this.#isUsed = true;
    return this.#viewBody();
  }

  /** An array of the platform's class, as a Buffer has other methods by the same names. */
  #viewBody(): Uint8Array<ArrayBuffer> {
    const { buffer, byteOffset, byteLength } = this.#body;
    return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  }
}
standInFor(PlainRequest, Request);

/** Dot segments, which the parser of URLs resolves. Of what a plain target may contain it changes nothing else. */
const DOT_SEGMENT = /\/(?:\.|%2e)/i;

// Most requests have the same host, and parsing a URL costs as much as storing a message.
let lastHost = "";
let lastScheme = "";
let lastOrigin = "";

function findUrl({ host, target }: PlainHead, scheme: string): string {
  if (host !== lastHost || scheme !== lastScheme) {
    lastOrigin = new URL(`${scheme}://${host}/`).origin;
    lastHost = host;
    lastScheme = scheme;
  }
  return DOT_SEGMENT.test(target) ? new URL(lastOrigin + target).href : lastOrigin + target;
}
