/**
 * IP addresses and networks: which peers are trusted proxies, and which addresses limits count as one client. Used by
 * the configuration, limits, proxies and the check of origins.
 */

/** An address as a number: 32 bits, or 128. */
interface Address {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

/** Addresses with a common prefix, such as `10.0.0.0/8` or `2001:db8::/32`. */
export interface Network extends Address {
  /** The number of common bits. */
  readonly prefix: number;
}

/** Bits of an IPv6 address that identify a customer of a provider, who controls all addresses below them. */
const CUSTOMER_BITS = 64n;
/** The prefix of an IPv4-mapped IPv6 address, as dual-stack sockets report IPv4 peers (RFC 4291 section 2.5.5.2). */
const MAPPED = 0xffffn << 32n;

/**
 * Parses a network, or a single address as a network of one.
 *
 * @throws {SyntaxError} saying what a network looks like
 */
export function parseNetwork(text: string): Network {
  const [, name = "", length] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = parseAddress(name);
  const prefix = Number(length ?? address?.bits);
  if (address === undefined || prefix > address.bits) {
    throw new SyntaxError(
      `${
        JSON.stringify(text)
      } is not a network: write an address, or one with a prefix, like 10.0.0.0/8 or fd00::/8`,
    );
  }
  return { ...address, prefix };
}

/** Whether an address is in any of the networks; false for text that is not an address. */
export function isWithin(address: string, networks: readonly Network[]): boolean {
  if (networks.length === 0) return false;
  const parsed = parseAddress(address);
  return parsed !== undefined && networks.some(({ bits, value, prefix }) => {
    const rest = BigInt(bits - prefix);
    return bits === parsed.bits && value >> rest === parsed.value >> rest;
  });
}

/** Whether an address is a loopback address. Must be cheap: it is called for every message by HTTP. */
export function isLoopbackAddress(address: string): boolean {
  return address.startsWith("127.") || address === "::1" || address.startsWith("::ffff:127.");
}

/**
 * The key by which limits count an address: IPv4 as it is, IPv6 by its first 64 bits, as a client that has one such
 * address usually has them all. Text that is not an address is its own key.
 */
export function toLimitKey(address: string): string {
  // The common case, and the only one without a colon.
  if (!address.includes(":")) return address;
  const parsed = parseAddress(address);
  if (parsed === undefined) return address;
  return parsed.bits === 32 ? formatIpv4(parsed.value) : `${(parsed.value >> CUSTOMER_BITS).toString(16)}/64`;
}

/** Whether a text is an IP address, without a port or brackets. */
export function isAddress(text: string): boolean {
  return parseAddress(text) !== undefined;
}

function parseAddress(text: string): Address | undefined {
  if (!text.includes(":")) {
    const value = parseIpv4(text);
    return value === undefined ? undefined : { bits: 32, value };
  }
  const value = parseIpv6(text);
  if (value === undefined) return undefined;
  return value >> 32n === MAPPED >> 32n ? { bits: 32, value: value & 0xffffffffn } : { bits: 128, value };
}

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split(".");
  // A leading zero would be octal to some and decimal to others.
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return parts.reduce((value, part) => value << 8n | BigInt(part), 0n);
}

/** RFC 4291 section 2.2. Ignores the zone of RFC 4007, which names an interface of this machine. */
function parseIpv6(text: string): bigint | undefined {
  const [address = ""] = text.split("%");
  const [head = "", tail, more] = address.split("::");
  if (more !== undefined) return undefined;
  const left = parseGroups(head);
  const right = parseGroups(tail ?? "");
  if (left === undefined || right === undefined) return undefined;
  const missing = 8 - left.length - right.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...left, ...Array<bigint>(missing).fill(0n), ...right];
  return groups.reduce((value, group) => value << 16n | group, 0n);
}

function parseGroups(text: string): bigint[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const last = parts.at(-1) ?? "";
  const groups: bigint[] = [];
  if (last.includes(".")) {
    const ipv4 = parseIpv4(last);
    if (ipv4 === undefined) return undefined;
    parts.pop();
    groups.push(ipv4 >> 16n, ipv4 & 0xffffn);
  }
  if (!parts.every((part) => /^[0-9a-f]{1,4}$/i.test(part))) return undefined;
  return [...parts.map((part) => BigInt(`0x${part}`)), ...groups];
}

function formatIpv4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => value >> shift & 0xffn).join(".");
}
