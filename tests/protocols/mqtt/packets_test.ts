/** Exact bytes of MQTT packets on a raw connection, and what happens to streams that are no MQTT. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { FramingError, PacketFramer } from "../../../lib/protocols/mqtt/framer.ts";
import { PacketDecoder } from "../../../lib/protocols/mqtt/codec.ts";
import { readOwnLiveBytes } from "../../live_memory.ts";
import { type MqttApp, RawClient, startMqtt } from "./app.ts";

/** CONNECT of client "a", clean, keep-alive 120. */
const CONNECT_4 = "100d 0004 4d515454 04 02 0078 0001 61";
const CONNECT_5 = "100e 0004 4d515454 05 02 0078 00 0001 61";
const CONNACK_4 = "20020000";

Deno.test("3.1.1 packets are answered byte for byte", async () => {
  await using app = await startMqtt();
  using client = await RawClient.open(app);
  const exchanges: readonly (readonly [sent: string, answer: string])[] = [
    [CONNECT_4, CONNACK_4],
    ["c000", "d000"],
    ["8208 0001 0003 782f79 02", "9003000102"],
    ["3206 0001 71 0007 00", "40020007"],
    ["3406 0001 71 0008 00", "50020008"],
    ["6202 0008", "70020008"],
    ["300a 0003 782f79 68656c6c6f", "300a0003782f7968656c6c6f"],
    ["a207 0002 0003 782f79", "b0020002"],
    ["8207 0003 0002 2b2b 00", "9003000380"],
    ["e000", ""],
  ];
  for (const [sent, answer] of exchanges) {
    await client.send(sent);
    assert.equal(await client.read(answer === "" ? 1 : answer.length / 2), answer, sent);
  }
});

Deno.test("5.0 packets are answered byte for byte", async () => {
  await using app = await startMqtt("--mqtt-max-keep-alive", "60");
  using client = await RawClient.open(app);
  await client.send(CONNECT_5);
  const head = await client.read(2);
  const connack = await client.read(parseInt(head.slice(2), 16));
  assert.match(connack, /^0000/);
  // Server keep-alive 60: property 0x13.
  assert.match(connack, /13003c/);
  const exchanges: readonly (readonly [sent: string, answer: string])[] = [
    ["c000", "d000"],
    ["8209 0001 00 0003 782f79 02", "900400010002"],
    ["3207 0001 71 0007 00 00", "400400071000"],
    ["a208 0002 00 0003 782f79", "b00400020000"],
    ["a208 0002 00 0003 782f79", "b00400020011"],
    ["6202 0009", "700400099200"],
  ];
  for (const [sent, answer] of exchanges) {
    await client.send(sent);
    const actual = await client.read(answer.length / 2);
    assert.equal(actual, answer, sent);
  }
});

Deno.test("what comes right behind CONNECT waits for CONNACK, thousands of packets of it", async () => {
  await using app = await startMqtt();
  using client = await RawClient.open(app);
  const count = 5_000;
  await client.send(`${CONNECT_4} 8206 0001 0001 71 00 ${"c000".repeat(count)}`);
  assert.equal(await client.read(9 + 2 * count), `${CONNACK_4}9003000100${"d000".repeat(count)}`);
});

const ENDINGS: readonly (readonly [what: string, connect: string, sent: string, answer: RegExp])[] = [
  ["a second CONNECT", CONNECT_4, CONNECT_4, /^$/],
  ["a wrong protocol name", "", "100d 0004 4d515458 04 02 0078 0001 61", /^$/],
  ["an unknown version", "", "100d 0004 4d515454 07 02 0078 0001 61", /^20020001$/],
  ["a packet before CONNECT", "", "c000", /^$/],
  ["an empty client id with clean=0", "", "100c 0004 4d515454 04 00 0078 0000", /^20020002$/],
  ["a length of five bytes", CONNECT_4, "30 ffffffff01", /^$/],
  ["a packet beyond the limit", CONNECT_4, "30 ffffff7f", /^$/],
  ["wrong flags of SUBSCRIBE", CONNECT_4, "8006 0001 0001 7802", /^$/],
  ["a QoS of 3", CONNECT_4, "3606 0001 71 0007 00", /^$/],
  ["a topic with a wildcard", CONNECT_4, "3003 0001 2b", /^$/],
  ["a second CONNECT of 5.0", CONNECT_5, CONNECT_5, /e0[0-9a-f]{2}82/],
  ["an alias of 0 in 5.0", CONNECT_5, "3007 0001 71 03 230000", /e0[0-9a-f]{2}(81|82|94)/],
];

for (const [what, connect, sent, answer] of ENDINGS) {
  Deno.test(`${what} ends the connection, and no other`, async () => {
    await using app = await startMqtt();
    using bystander = await RawClient.open(app);
    await bystander.send("100d 0004 4d515454 04 02 0078 0001 62");
    assert.equal(await bystander.read(4), CONNACK_4);
    using client = await RawClient.open(app);
    if (connect !== "") {
      await client.send(connect);
      await client.read(parseInt((await client.read(2)).slice(2), 16));
    }
    await client.send(sent);
    assert.match(await client.readAll(), answer);
    await bystander.send("c000");
    assert.equal(await bystander.read(2), "d000");
  });
}

Deno.test("a client that sends no CONNECT is dropped", async () => {
  await using app: MqttApp = await startMqtt("--mqtt-connect-timeout", "1");
  using client = await RawClient.open(app);
  assert.equal(await client.readAll(), "");
});

Deno.test("packets are cut alike however their bytes arrive", () => {
  const packet = fc.uint8Array({ maxLength: 300 }).map((body) => {
    const length = body.length < 128
      ? [body.length]
      : [body.length % 128 | 128, Math.floor(body.length / 128)];
    return new Uint8Array([0x30, ...length, ...body]);
  });
  fc.assert(fc.property(fc.array(packet, { maxLength: 8 }), fc.array(fc.nat(40)), (packets, cuts) => {
    const stream = new Uint8Array(packets.flatMap((bytes) => [...bytes]));
    const got: Uint8Array[] = [];
    const framer = new PacketFramer(400);
    let at = 0;
    // Some pieces are looked at before the next one is there.
    for (const [i, cut] of [...cuts, stream.length].entries()) {
      framer.push(stream.slice(at, at += cut));
      if (i % 3 > 0) got.push(...takeAll(framer));
    }
    got.push(...takeAll(framer));
    assert.deepEqual(got.map((bytes) => bytes.toHex()), packets.map((bytes) => bytes.toHex()));
    assert.equal(framer.waitingBytes, 0);
  }));
});

Deno.test("packets that wait take no more memory than twice their bytes, however small they and their pieces are", () => {
  const sizes = [60_000, 1];
  const before = readOwnLiveBytes();
  const framers = sizes.flatMap((size) => {
    const pings = new Uint8Array(60_000).map((_, i) => i % 2 === 0 ? 0xc0 : 0);
    return Array.from({ length: 20 }, () => {
      const framer = new PacketFramer(100);
      for (let at = 0; at < pings.length; at += size) framer.push(pings.slice(at, at + size));
      return framer;
    });
  });
  const grown = readOwnLiveBytes() - before;
  const waiting = framers.reduce((sum, { waitingBytes }) => sum + waitingBytes, 0);
  assert.equal(waiting, 40 * 60_000);
  assert.ok(grown < 2 * waiting + 1_000_000, `${grown} bytes for ${waiting}`);
  for (const framer of framers) assert.equal([...takeAll(framer)].length, 30_000);
});

Deno.test("the beginning of a packet does not keep those before it in memory", () => {
  const before = readOwnLiveBytes();
  const framers = Array.from({ length: 40 }, () => {
    const framer = new PacketFramer(100_000);
    framer.push(new Uint8Array([...new Uint8Array(60_000).map((_, i) => i % 2 === 0 ? 0xc0 : 0), 0x30]));
    assert.equal([...takeAll(framer)].length, 30_000);
    return framer;
  });
  const grown = readOwnLiveBytes() - before;
  assert.equal(framers.reduce((sum, { waitingBytes }) => sum + waitingBytes, 0), 40);
  assert.ok(grown < 1_000_000, `${grown} bytes`);
});

function* takeAll(framer: PacketFramer): Generator<Uint8Array<ArrayBuffer>> {
  for (let packet = framer.next(); packet !== undefined; packet = framer.next()) yield packet;
}

Deno.test("random bytes are packets or framing errors, nothing else", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom(4 as const, 5 as const),
      (bytes, version) => {
        const decoder = new PacketDecoder();
        decoder.setVersion(version);
        const framer = new PacketFramer(1_000);
        try {
          framer.push(new Uint8Array(bytes));
          for (const packet of takeAll(framer)) decoder.decode(packet);
        } catch (error) {
          assert.ok(error instanceof FramingError, String(error));
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

Deno.test("truncated packets are malformed", () => {
  const whole = Uint8Array.fromHex(CONNECT_5.replaceAll(" ", ""));
  for (let length = 2; length < whole.length; length++) {
    const bytes = whole.slice(0, length);
    bytes[1] = length - 2;
    assert.throws(() => new PacketDecoder().decode(bytes), FramingError);
  }
});
