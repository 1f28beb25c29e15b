/**
 * Truncated, changed and random packets on real connections: each ends its own connection, with the reason that the
 * version has for it, and nothing else.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { PacketDecoder, type Version } from "../../../lib/protocols/mqtt/codec.ts";
import { FramingError } from "../../../lib/protocols/mqtt/framer.ts";
import { connect, RawClient, startMqtt } from "./app.ts";

const CONNECTS: Readonly<Record<4 | 5, string>> = {
  4: "100d 0004 4d515454 04 02 0078 0001 61",
  5: "100e 0004 4d515454 05 02 0078 00 0001 61",
};

/** One valid packet of each type that clients send, and the shortest bodies of it that are whole. */
interface Sample {
  readonly what: string;
  readonly version: 4 | 5;
  readonly bytes: string;
  /** Lengths of the body at which it may end as well. */
  readonly ends?: readonly number[];
}

const SAMPLES: readonly Sample[] = [
  { what: "CONNECT", version: 4, bytes: CONNECTS[4] },
  {
    what: "CONNECT with a will, a user and a password",
    version: 4,
    bytes: "1019 0004 4d515454 04 c6 0078 0001 61 0001 77 0001 6d 0001 75 0001 70",
  },
  { what: "CONNECT", version: 5, bytes: CONNECTS[5] },
  {
    what: "CONNECT with properties",
    version: 5,
    bytes: "1016 0004 4d515454 05 02 0078 08 1100000001 210005 0001 61",
  },
  { what: "PUBLISH", version: 4, bytes: "3206 0001 71 0007 41", ends: [5] },
  { what: "PUBLISH", version: 5, bytes: "3209 0001 71 0007 02 0101 41", ends: [8] },
  { what: "PUBACK", version: 4, bytes: "4002 0007" },
  { what: "PUBACK", version: 5, bytes: "4004 0007 00 00", ends: [2, 3] },
  { what: "PUBREC", version: 4, bytes: "5002 0007" },
  { what: "PUBREC", version: 5, bytes: "5004 0007 00 00", ends: [2, 3] },
  { what: "PUBREL", version: 4, bytes: "6202 0007" },
  { what: "PUBREL", version: 5, bytes: "6204 0007 00 00", ends: [2, 3] },
  { what: "PUBCOMP", version: 4, bytes: "7002 0007" },
  { what: "PUBCOMP", version: 5, bytes: "7004 0007 00 00", ends: [2, 3] },
  { what: "SUBSCRIBE", version: 4, bytes: "8206 0001 0001 78 00" },
  { what: "SUBSCRIBE", version: 5, bytes: "8209 0001 02 0b07 0001 78 00" },
  { what: "UNSUBSCRIBE", version: 4, bytes: "a205 0001 0001 78" },
  { what: "UNSUBSCRIBE", version: 5, bytes: "a206 0001 00 0001 78" },
  { what: "DISCONNECT", version: 5, bytes: "e007 00 05 1100000000", ends: [0, 1] },
];

function toBytes(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

/** The packet with so much of its body, and a length that says so. */
function truncate(bytes: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  const packet = bytes.slice(0, 2 + length);
  packet[1] = length;
  return packet;
}

function decode(version: Version, bytes: Uint8Array<ArrayBuffer>): string {
  const decoder = new PacketDecoder();
  decoder.setVersion(version);
  return decoder.decode(bytes).cmd;
}

for (const { what, version, bytes, ends = [] } of SAMPLES) {
  Deno.test(`${what} of version ${version} is malformed wherever it is cut off`, () => {
    const whole = toBytes(bytes);
    assert.equal(whole[1], whole.length - 2, "the sample itself");
    assert.equal(decode(version, whole), what.split(" ")[0]!.toLowerCase());
    for (let length = 0; length < whole.length - 2; length++) {
      const read = () => decode(version, truncate(whole, length));
      if (ends.includes(length)) assert.doesNotThrow(read, `${length} bytes`);
      else assert.throws(read, FramingError, `${length} bytes`);
    }
  });
}

for (
  const [what, version, bytes] of [
    ["a client id", 4, "100d 0004 4d515454 04 02 0078 0001 ff"],
    ["a topic", 4, "3005 0002 c328 41"],
    ["a topic", 5, "3006 0002 c328 00 41"],
    ["a topic with an overlong form", 4, "3005 0002 c0af 41"],
    ["a topic with half a surrogate pair", 4, "3006 0003 eda080 41"],
    ["a filter", 4, "8206 0001 0001 80 00"],
    ["a filter to end", 5, "a206 0001 00 0001 80"],
    ["a response topic", 5, "3009 0001 71 04 08 0001 ff 41"],
  ] as const
) {
  Deno.test(`${what} that is not UTF-8 makes a packet of version ${version} malformed`, () => {
    assert.throws(
      () => decode(version, toBytes(bytes)),
      (error) => error instanceof FramingError && error.reason === 0x81,
    );
  });
}

for (
  const [what, bytes, reason] of [
    ["correlation data that goes beyond the end", "3007 0001 71 03 09 0005", 0x81],
    ["a content type that goes beyond the end", "3007 0001 71 03 03 0005", 0x81],
    ["a user property that goes beyond the end", "300a 0001 71 06 26 0001 61 0005", 0x81],
    [
      "a property of a will that goes beyond the end",
      "1018 0004 4d515454 05 06 0078 00 0001 61 03 09 00ff 0001 77 0001 41",
      0x81,
    ],
    ["two content types", "300c 0001 71 08 03 0001 61 03 0001 62", 0x82],
  ] as const
) {
  Deno.test(`A packet with ${what} is refused with 0x${reason.toString(16)}`, () => {
    assert.throws(
      () => decode(5, toBytes(bytes)),
      (error) => error instanceof FramingError && error.reason === reason,
    );
  });
}

Deno.test("U+FFFD that was sent is a text like any other to the decoder", () => {
  assert.equal(decode(4, toBytes("3006 0003 efbfbd 41")), "publish");
});

/** Opens a connection and, for a packet other than CONNECT, connects. Version 0 does not. */
async function open(app: Awaited<ReturnType<typeof startMqtt>>, version: 0 | 4 | 5): Promise<RawClient> {
  const client = await RawClient.open(app);
  if (version === 0) return client;
  await client.send(CONNECTS[version]);
  await client.read(parseInt((await client.read(2)).slice(2), 16));
  return client;
}

Deno.test("A packet that is cut off ends its connection with 0x81, and no other", async () => {
  await using app = await startMqtt();
  using bystander = await RawClient.open(app);
  await bystander.send("100d 0004 4d515454 04 02 0078 0001 62");
  await bystander.read(4);
  for (const { what, version, bytes, ends = [] } of SAMPLES) {
    const whole = toBytes(bytes);
    const isConnect = what.startsWith("CONNECT");
    for (let length = 0; length < whole.length - 2; length++) {
      if (ends.includes(length)) continue;
      using client = await open(app, isConnect ? 0 : version);
      await client.send(truncate(whole, length).toHex());
      const answer = await client.readAll();
      // 3.1.1 has no packet for it. A CONNECT that cannot be read says no version to answer in.
      if (isConnect || version === 4) assert.equal(answer, "", `${what} ${version}, ${length} bytes`);
      else assert.match(answer, /^e0[0-9a-f]{2}8[12]/, `${what} ${version}, ${length} bytes`);
    }
  }
  await bystander.send("c000");
  assert.equal(await bystander.read(2), "d000");
  assert.deepEqual(app.logger.find("mqtt connection failed"), []);
});

Deno.test("A client that hangs up in the middle of any packet is gone, and that is all", async () => {
  await using app = await startMqtt();
  for (const { version, bytes, what } of SAMPLES) {
    const hex = bytes.replaceAll(" ", "");
    for (let length = 2; length < hex.length; length += 2) {
      using client = await open(app, what.startsWith("CONNECT") ? 0 : version);
      await client.send(hex.slice(0, length));
    }
  }
  await using other = await connect(app);
  await other.client.publishAsync("still/here", "x", { qos: 1 });
  assert.deepEqual(app.logger.find("mqtt connection failed"), []);
  assert.deepEqual(app.logger.find("storing an mqtt session failed"), []);
});

for (const head of ["20020000", "90030001 00", "b0020001", "d000", "0000"]) {
  for (const version of [4, 5] as const) {
    Deno.test(`What a client may not send, ${head}, ends a connection of version ${version}`, async () => {
      await using app = await startMqtt();
      using client = await open(app, version);
      await client.send(head);
      assert.match(await client.readAll(), version === 4 ? /^$/ : /^e0[0-9a-f]{2}8[12]/);
    });
  }
}

/** Splits what the server sent into packets; throws if it is no whole number of packets. */
function readServerPackets(hex: string, version: 4 | 5): string[] {
  const bytes = Uint8Array.fromHex(hex);
  const commands: string[] = [];
  for (let at = 0; at < bytes.length;) {
    assert.ok(bytes[at + 1]! < 0x80 || bytes[at + 2]! < 0x80, "Its length has two bytes at most");
    const isShort = bytes[at + 1]! < 0x80;
    const length = isShort ? bytes[at + 1]! : (bytes[at + 1]! & 0x7f) + bytes[at + 2]! * 128;
    const end = at + (isShort ? 2 : 3) + length;
    assert.ok(end <= bytes.length);
    commands.push(decode(version, bytes.slice(at, at = end)));
  }
  return commands;
}

/** A valid packet of any type with some of its bytes changed, or bytes that were never one. */
const arbitraryPacket = fc.oneof(
  fc.tuple(
    fc.constantFrom(
      ...SAMPLES.filter(({ what }) => !what.startsWith("CONNECT")).map(({ bytes }) => toBytes(bytes)),
    ),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }),
  ).map(([bytes, changes]) => {
    const changed = bytes.slice();
    for (const [at, value] of changes) changed[at % changed.length] = value;
    return changed;
  }),
  fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => new Uint8Array(bytes)),
);

for (const version of [4, 5] as const) {
  Deno.test(`Random packets of version ${version} get whole packets as answers, or the end of their connection`, async () => {
    await using app = await startMqtt("--mqtt-max-inflight", "1000");
    await fc.assert(
      fc.asyncProperty(fc.array(arbitraryPacket, { minLength: 1, maxLength: 4 }), async (packets) => {
        using client = await open(app, version);
        for (const bytes of packets) await client.send(bytes.toHex()).catch(() => {});
        await client.finish();
        const commands = readServerPackets(await client.readAll(), version);
        const last = commands.indexOf("disconnect");
        assert.ok(last === -1 || last === commands.length - 1, commands.join());
        assert.ok(version === 5 || last === -1, "3.1.1 servers send no DISCONNECT");
      }),
      { numRuns: 300 },
    );
    await using other = await connect(app, { clientId: "other" });
    await other.client.publishAsync("still/here", "x", { qos: 1 });
    assert.deepEqual(app.logger.find("mqtt connection failed"), []);
    assert.deepEqual(app.logger.entries.filter(({ level }) => level === "error"), []);
  });
}

for (const when of ["at once", "after its turn in a queue"] as const) {
  Deno.test(`A shared subscription without its own messages ends its connection with 0x82, looked at ${when}`, async () => {
    await using app = await startMqtt();
    if (when !== "at once") {
      // More retained messages than one turn may look at: what is subscribed to waits.
      const payload = { kind: "text" as const, text: "x".repeat(60_000) };
      for (const channel of ["a", "b", "c", "d", "e"]) {
        await app.app.hub.publish({ channel, payload, properties: { retain: true } });
      }
    }
    using client = await open(app, 5);
    // SUBSCRIBE to "$share/g/x" with No Local.
    await client.send("8210 0001 00 000a 2473686172652f672f78 04");
    const end = await client.readAll();
    assert.deepEqual([end.slice(0, 2), end.slice(4, 6)], ["e0", "82"]);
    assert.deepEqual(app.logger.find("mqtt connection failed"), []);
  });
}
