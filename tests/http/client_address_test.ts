/** Whose request it is behind proxies: nobody is believed but them, from the right, and whatever they are handed. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { isAddress, parseNetwork } from "../../lib/base/address.ts";
import { findClientAddress, type ProxyHeader } from "../../lib/http/client_address.ts";

const NETWORKS = ["10.0.0.0/8", "fd00::/8"].map(parseNetwork);

function find(header: ProxyHeader, value: string, peer = "10.0.0.1"): string {
  return findClientAddress(peer, new Headers({ [header]: value }), { networks: NETWORKS, header });
}

const FORWARDED_FOR: readonly [name: string, value: string, expected: string][] = [
  ["one client", "192.0.2.1", "192.0.2.1"],
  ["what the client says of itself", "198.51.100.1, 192.0.2.1", "192.0.2.1"],
  ["a client that pretends to be a proxy", "198.51.100.1, 10.9.9.9, 192.0.2.1", "192.0.2.1"],
  ["a chain of trusted proxies", "192.0.2.1, 10.0.0.3,10.0.0.2", "192.0.2.1"],
  ["trusted proxies all the way", "10.0.0.4, 10.0.0.3", "10.0.0.4"],
  ["an IPv6 client", "2001:db8::1", "2001:db8::1"],
  ["an IPv6 client with a port", "[2001:db8::1]:4711", "2001:db8::1"],
  ["an IPv4 client with a port", "192.0.2.1:4711", "192.0.2.1"],
  ["a proxy by IPv6", "192.0.2.1, fd00::9", "192.0.2.1"],
  ["nothing that is an address", "unknown", "10.0.0.1"],
  ["nonsense behind a proxy", "192.0.2.1, x, 10.0.0.2", "10.0.0.2"],
  ["nothing", "", "10.0.0.1"],
  ["commas", ",,,", "10.0.0.1"],
];

for (const [name, value, expected] of FORWARDED_FOR) {
  Deno.test(`findClientAddress() reads X-Forwarded-For with ${name}`, () => {
    assert.equal(find("x-forwarded-for", value), expected);
  });
}

const FORWARDED: readonly [name: string, value: string, expected: string][] = [
  ["one client", "for=192.0.2.1", "192.0.2.1"],
  ["other parameters", "proto=https;For=192.0.2.1 ; by=10.0.0.1", "192.0.2.1"],
  ["quotes, IPv6 and a port", 'for="[2001:db8::1]:4711";proto=http', "2001:db8::1"],
  [
    "commas and semicolons in quotes",
    'for=198.51.100.1, for="192.0.2.1";host="a,b;for=6.6.6.6"',
    "192.0.2.1",
  ],
  ["a chain", "for=198.51.100.1, for=192.0.2.1, for=10.0.0.2", "192.0.2.1"],
  ["a hidden client", 'for="_hidden"', "10.0.0.1"],
  ["an element without for", "for=192.0.2.1, proto=https", "10.0.0.1"],
  ["an unclosed quote", 'for="192.0.2.1', "10.0.0.1"],
  ["a client's open quote before a proxy's", 'for=6.6.6.6;x=", for="[2001:db8::1]:4711"', "2001:db8::1"],
  ["a client's escaped quote before a proxy's", 'for="\\", for="[2001:db8::1]:4711"', "2001:db8::1"],
];

for (const [name, value, expected] of FORWARDED) {
  Deno.test(`findClientAddress() reads Forwarded with ${name}`, () => {
    assert.equal(find("forwarded", value), expected);
  });
}

Deno.test("findClientAddress() believes nobody but trusted proxies, and only the header they write", () => {
  assert.equal(find("x-forwarded-for", "198.51.100.1", "192.0.2.9"), "192.0.2.9");
  const headers = new Headers({ forwarded: "for=198.51.100.1", "x-forwarded-for": "192.0.2.1" });
  assert.equal(
    findClientAddress("10.0.0.1", headers, { networks: NETWORKS, header: "x-forwarded-for" }),
    "192.0.2.1",
  );
  assert.equal(
    findClientAddress("10.0.0.1", headers, { networks: NETWORKS, header: "forwarded" }),
    "198.51.100.1",
  );
  assert.equal(findClientAddress("10.0.0.1", headers, { networks: [], header: "forwarded" }), "10.0.0.1");
});

Deno.test("findClientAddress() finds an address in any header, and takes no time over long ones", () => {
  const value = fc.stringMatching(/^[ -~]{0,200}$/);
  fc.assert(
    fc.property(value, fc.constantFrom<ProxyHeader>("forwarded", "x-forwarded-for"), (value, header) => {
      assert.ok(isAddress(find(header, value)));
    }),
  );
  const long = '"\\'.repeat(1_000_000) + ",";
  assert.equal(find("forwarded", `${long}for=192.0.2.1`), "192.0.2.1");
});
