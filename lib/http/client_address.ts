/**
 * Finds the address of a client behind trusted proxies, by `X-Forwarded-For` or `Forwarded`. `connections.ts` calls it
 * for each request; without trusted proxies the headers are ignored and the address is the peer's.
 */
import { isAddress, isWithin, type Network } from "../base/address.ts";

/** The header that the proxies write. The other one is ignored: any client could have sent it. */
export type ProxyHeader = "x-forwarded-for" | "forwarded";

export interface ProxyTrust {
  readonly networks: readonly Network[];
  readonly header: ProxyHeader;
}

/** Characters of the header that are read, from the right; what is further left was sent by the client. */
const MAX_LENGTH = 2_048;

/**
 * Finds the client's address. Each proxy appends the address that called it, so the list is read from the right, up to
 * the first address that is not a trusted proxy; anything further left was sent by the client.
 *
 * @param peer address of the other end of the connection
 * @returns the address of the client, or of the last trusted proxy if that does not say who called it
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
 * Pairs quotes from the right, where the proxies write: otherwise a client could send an opening quote that swallows
 * what the proxy appends. Addresses need no escapes.
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
