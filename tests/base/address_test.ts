/** Addresses and networks: how they are written, which lie in which, and what limits count as one. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { isAddress, isLoopbackAddress, isWithin, parseNetwork, toLimitKey } from "../../lib/base/address.ts";

const WITHIN: readonly [address: string, network: string, expected: boolean][] = [
  ["10.1.2.3", "10.0.0.0/8", true],
  ["11.1.2.3", "10.0.0.0/8", false],
  ["192.0.2.1", "192.0.2.1", true],
  ["192.0.2.2", "192.0.2.1", false],
  ["192.0.2.129", "192.0.2.128/25", true],
  ["192.0.2.127", "192.0.2.128/25", false],
  ["203.0.113.9", "0.0.0.0/0", true],
  ["2001:db8::1", "0.0.0.0/0", false],
  ["192.0.2.1", "::/0", false],
  ["2001:db8:0:1::", "2001:db8::/32", true],
  ["2001:db9::", "2001:db8::/32", false],
  ["::1", "::1", true],
  ["0:0:0:0:0:0:0:1", "::1", true],
  ["::ffff:10.1.2.3", "10.0.0.0/8", true],
  ["::ffff:a01:203", "10.0.0.0/8", true],
  ["10.1.2.3", "::ffff:10.0.0.0", false],
  ["10.0.0.0", "::ffff:10.0.0.0", true],
  ["fe80::1%eth0", "fe80::/10", true],
  ["64:ff9b::192.0.2.1", "64:ff9b::/96", true],
  ["no address", "0.0.0.0/0", false],
];

for (const [address, network, expected] of WITHIN) {
  Deno.test(`isWithin() says that ${address} is ${expected ? "" : "not "}in ${network}`, () => {
    assert.equal(isWithin(address, [parseNetwork(network)]), expected);
  });
}

Deno.test("parseNetwork() refuses what is not a network, and says what one looks like", () => {
  const bad = [
    "",
    "x",
    "10.0.0.0/33",
    "10.0.0/8",
    "10.0.0.256",
    "010.0.0.1",
    "::/129",
    "1::2::3",
    ":::",
    "1:2:3",
    "/8",
  ];
  for (
    const text of [
      ...bad,
      "10.0.0.0/",
      "10.0.0.0/-1",
      "10.0.0.0/8/8",
      "12345::",
      "::1.2.3",
      "1:2:3:4:5:6:7:8:9",
    ]
  ) {
    assert.throws(() => parseNetwork(text), /SyntaxError: .* is not a network: .*10\.0\.0\.0\/8/, text);
  }
});

Deno.test("parseNetwork() and isAddress() take any text in their stride", () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f:.%/]{0,45}$/));
  fc.assert(fc.property(text, (text) => {
    isAddress(text);
    toLimitKey(text);
    try {
      parseNetwork(text);
    } catch (error) {
      assert.ok(error instanceof SyntaxError);
    }
  }));
});

Deno.test("isAddress() and isWithin() know every address that can be written", () => {
  fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
    assert.ok(isAddress(address));
    assert.ok(isWithin(address, ["0.0.0.0/0", "::/0"].map(parseNetwork)));
    assert.ok(isWithin(address, [parseNetwork(address)]));
  }));
});

Deno.test("toLimitKey() counts IPv4 by address, and IPv6 by its first 64 bits, however they are written", () => {
  const lines: readonly [string, string][] = [
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::ffff:c000:201", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "20010db800010002/64"],
    ["2001:DB8:1:2::9", "20010db800010002/64"],
    ["::1", "0/64"],
    ["unknown", "unknown"],
    ["not:an:address", "not:an:address"],
  ];
  for (const [address, line] of lines) assert.equal(toLimitKey(address), line);
  assert.notEqual(toLimitKey("2001:db8:1:2::1"), toLimitKey("2001:db8:1:3::1"));
});

Deno.test("isLoopbackAddress() knows this machine's addresses and no others", () => {
  for (const address of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]) {
    assert.ok(isLoopbackAddress(address));
  }
  for (const address of ["10.0.0.1", "12.7.0.1", "::2", "::ffff:10.0.0.1", "localhost", ""]) {
    assert.ok(!isLoopbackAddress(address), address);
  }
});
