/**
 * Whose request it is behind proxies: the address that the nearest trusted proxy saw, by `X-Forwarded-For` or
 * `Forwarded`. `app.ts` asks once a request; without trusted proxies nobody is believed, and it is the peer's.
 */
import { isAddress, isWithin, type Network } from "../base/address.ts";

/** The header that the proxies write: the one they do not write, any client could. */
export type ProxyHeader = "x-forwarded-for" | "forwarded";

export interface ProxyTrust {
  readonly networks: readonly Network[];
  readonly header: ProxyHeader;
}

/** Characters that are looked at, from the right; what does not fit in is a client's invention. */
const MAX_LENGTH = 2_048;

/**
 * The client's address. Each proxy adds the address it was called from on the right, so the list is read from there,
 * for as long as trusted proxies speak; what stands further left is what a client says of itself.
 *
 * @param peer address of the other end of the connection
 * @returns the address of the last proxy that is trusted, when that does not say who called it
 */
export function findClientAddress(peer: string, headers: Headers, { networks, header }: ProxyTrust): string {
  if (!isWithin(peer, networks)) return peer;
  const value = headers.get(header)?.slice(-MAX_LENGTH);
  if (value === undefined) return peer;
  const hops = header === "forwarded" ? parseForwarded(value) : value.split(",");
  let address = peer;
  for (const hop of hops.reverse()) {
    const next = parseNode(hop.trim());
    if (next === undefined) return address;
    address = next;
    if (!isWithin(address, networks)) return address;
  }
  return address;
}

/** The `for` of each element (RFC 7239 section 4), "" where there is none. */
function parseForwarded(value: string): string[] {
  return splitOutsideQuotes(value, ",").map((element) => {
    const pairs = splitOutsideQuotes(element, ";").map((pair) => /^\s*for\s*=\s*(.*?)\s*$/i.exec(pair)?.[1]);
    const node = pairs.find((text) => text !== undefined) ?? "";
    return /^".*"$/.test(node) ? node.slice(1, -1) : node;
  });
}

/**
 * Pairs quotes from the right, where the proxies write: else a client could send a quote that swallows what the proxy
 * adds, and its own address with it. No address needs an escape.
 */
function splitOutsideQuotes(text: string, separator: "," | ";"): string[] {
  const parts = reverse(text).match(separator === "," ? /(?:"[^"]*"|[^,"]|")+/g : /(?:"[^"]*"|[^;"]|")+/g);
  return (parts ?? []).map(reverse).reverse();
}

function reverse(text: string): string {
  return [...text].reverse().join("");
}

/** `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`; undefined for `unknown` and the like. */
function parseNode(text: string): string | undefined {
  const node = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(text)?.[1] ?? text;
  return isAddress(node) ? node : undefined;
}
