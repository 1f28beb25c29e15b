/** Every packet type of 3.1.1 and 5.0 in both directions, byte for byte, over a real connection. */
import assert from "node:assert/strict";
import { type MqttApp, RawClient, startMqtt } from "./app.ts";

/** A packet of a type and flags, with its length: all are shorter than 128 bytes. */
function packet(head: string, body: string): string {
  const bytes = body.replaceAll(" ", "");
  assert.ok(bytes.length < 256);
  return head + (bytes.length / 2).toString(16).padStart(2, "0") + bytes;
}

/** A string as MQTT writes it: its length in two bytes, then UTF-8. */
function text(value: string): string {
  const bytes = new TextEncoder().encode(value);
  return bytes.length.toString(16).padStart(4, "0") + bytes.toHex();
}

/** Sends packets and compares the next ones, in any order where acknowledgements race with messages. */
async function exchange(
  client: RawClient,
  sent: readonly string[],
  expected: readonly string[],
): Promise<void> {
  await client.send(sent.join(""));
  assert.deepEqual(await readPackets(client, expected.length), [...expected].sort(), sent.join(" "));
}

async function readPackets(client: RawClient, count: number): Promise<string[]> {
  const packets: string[] = [];
  while (packets.length < count) {
    const head = await client.read(2);
    if (head === "") break;
    packets.push(head + await client.read(parseInt(head.slice(2), 16)));
  }
  return packets.sort();
}

/** CONNECT of client "a" with flags, a keep-alive of 120 s and, for 5.0, properties with their length. */
function connect(version: "03" | "04" | "05", flags: string, properties = "00", more = ""): string {
  const protocol = text(version === "03" ? "MQIsdp" : "MQTT");
  return packet(
    "10",
    `${protocol}${version}${flags}0078${version === "05" ? properties : ""}${text("a")}${more}`,
  );
}

const PING = "c000";
const PONG = "d000";

Deno.test("Every packet of 3.1.1 has its bytes in both directions", async () => {
  await using app = await startMqtt();
  using client = await RawClient.open(app);
  const [t0, t1, t2] = [text("x/0"), text("x/1"), text("x/2")];
  await exchange(client, [connect("04", "00")], ["20020000"]);
  await exchange(client, [packet("82", `0001 ${t0}00 ${t1}01 ${t2}02`)], [packet("90", "0001 00 01 02")]);
  await exchange(client, [packet("30", `${t0}41`)], [packet("30", `${t0}41`)]);
  await exchange(client, [packet("32", `${t1} 0005 41`)], [packet("32", `${t1} 0001 41`), "40020005"]);
  await exchange(client, ["40020001", PING], [PONG]);
  await exchange(client, [packet("34", `${t2} 0006 41`)], [packet("34", `${t2} 0002 41`), "50020006"]);
  // Sent again with DUP, it is not stored again.
  await exchange(client, [packet("3c", `${t2} 0006 41`)], ["50020006"]);
  await exchange(client, ["50020002"], ["62020002"]);
  await exchange(client, ["62020006"], ["70020006"]);
  await exchange(client, ["70020002", PING], [PONG]);
  await exchange(client, ["62020006"], ["70020006"]);
  await exchange(client, [packet("a2", `0007 ${t1} ${t2}`)], ["b0020007"]);
  await exchange(client, [packet("32", `${t1} 0008 41`)], ["40020008"]);
  await exchange(client, [packet("33", `${text("r/1")} 0009 6b657074`)], ["40020009"]);
  await exchange(client, [packet("82", `000a ${text("r/+")}00`)], [
    packet("90", "000a 00"),
    packet("31", `${text("r/1")}6b657074`),
  ]);
  await exchange(client, [packet("82", `000b ${text("$SYS/#")}00 ${text("ok")}01`)], [
    packet("90", "000b 80 01"),
  ]);
  // DISCONNECT.
  await client.send("e000");
  assert.equal(await client.readAll(), "");
  using again = await RawClient.open(app);
  await exchange(again, [connect("04", "00")], ["20020100"]);
  using clean = await RawClient.open(app);
  await exchange(clean, [connect("04", "02")], ["20020000"]);
  assert.equal(await again.readAll(), "", "its id was taken over");
});

Deno.test("MQTT 3.1 is spoken under its old name", async () => {
  await using app = await startMqtt();
  using client = await RawClient.open(app);
  await exchange(client, [connect("03", "02")], ["20020000"]);
  await exchange(client, [packet("82", `0001 ${text("x")}01`)], [packet("90", "0001 01")]);
  await exchange(client, [packet("30", `${text("x")}41`)], [packet("30", `${text("x")}41`)]);
});

Deno.test("Topics in every script have their bytes of UTF-8, in normal form", async () => {
  await using app = await startMqtt();
  using client = await RawClient.open(app);
  await exchange(client, [connect("04", "02")], ["20020000"]);
  await exchange(client, [packet("82", `0001 ${text("cafe\u0301/+")}00`)], [packet("90", "0001 00")]);
  await exchange(client, [packet("30", `${text("cafe\u0301/新闻 1")}41`)], [
    packet("30", `${text("café/新闻 1")}41`),
  ]);
  // In another normal form it is the same filter: no message comes twice, and it ends under either name.
  await exchange(client, [packet("82", `0002 ${text("café/+")}00`)], [packet("90", "0002 00")]);
  await exchange(client, [packet("30", `${text("café/x")}41`), PING], [
    packet("30", `${text("café/x")}41`),
    PONG,
  ]);
  await exchange(client, [packet("a2", `0003 ${text("cafe\u0301/+")}`)], ["b0020003"]);
  await exchange(client, [packet("30", `${text("café/x")}41`), PING], [PONG]);
});

Deno.test("Messages that were not acknowledged come again with DUP and their ids, byte for byte", async () => {
  await using app = await startMqtt();
  const [t1, t2] = [text("x/1"), text("x/2")];
  {
    using client = await RawClient.open(app);
    await exchange(client, [connect("04", "00")], ["20020000"]);
    await exchange(client, [packet("82", `0001 ${t1}01 ${t2}02`)], [packet("90", "0001 01 02")]);
    await exchange(client, [packet("32", `${t1} 0005 41`)], [packet("32", `${t1} 0001 41`), "40020005"]);
    await exchange(client, [packet("34", `${t2} 0006 42`)], [packet("34", `${t2} 0002 42`), "50020006"]);
    await client.send("e000");
    assert.equal(await client.readAll(), "");
  }
  {
    using client = await RawClient.open(app);
    await exchange(client, [connect("04", "00")], [
      "20020100",
      packet("3a", `${t1} 0001 41`),
      packet("3c", `${t2} 0002 42`),
    ]);
    await exchange(client, ["40020001", "50020002"], ["62020002"]);
    await client.send("e000");
    assert.equal(await client.readAll(), "");
  }
  using client = await RawClient.open(app);
  // What was received is released alone.
  await exchange(client, [connect("04", "00")], ["20020100", "62020002"]);
  await exchange(client, ["70020002", PING], [PONG]);
});

/** A will of 3.1.1 at QoS 1, to be retained. */
Deno.test("A will has the bytes that its CONNECT gave it", async () => {
  await using app = await startMqtt();
  using watcher = await RawClient.open(app);
  await exchange(watcher, [packet("10", `${text("MQTT")}04020078${text("w")}`)], ["20020000"]);
  await exchange(watcher, [packet("82", `0001 ${text("will")}00`)], [packet("90", "0001 00")]);
  {
    using client = await RawClient.open(app);
    await exchange(client, [connect("04", "2e", "", text("will") + text("gone"))], ["20020000"]);
  }
  assert.deepEqual(await readPackets(watcher, 1), [packet("30", text("will") + "676f6e65")]);
  // It is retained.
  await exchange(watcher, [packet("82", `0002 ${text("will")}00`)], [
    packet("90", "0002 00"),
    packet("31", text("will") + "676f6e65"),
  ]);
});

/** Opens a connection of 5.0 whose CONNACK is not looked into. */
async function open5(app: MqttApp, properties = "00"): Promise<RawClient> {
  const client = await RawClient.open(app);
  await client.send(connect("05", "02", properties));
  await readPackets(client, 1);
  return client;
}

Deno.test("CONNACK of 5.0 tells the limits", async () => {
  await using app = await startMqtt("--mqtt-max-inflight", "16", "--mqtt-max-keep-alive", "60");
  using client = await RawClient.open(app);
  await client.send(connect("05", "02"));
  const [connack = ""] = await readPackets(client, 1);
  assert.match(connack, /^20[0-9a-f]{2}0000/);
  // Receive maximum 16, server keep-alive 60, topic alias maximum 32.
  for (const property of ["210010", "13003c", "220020"]) assert.ok(connack.includes(property), connack);
  using nobody = await RawClient.open(app);
  await nobody.send(packet("10", `${text("MQTT")}05020078 00 0000`));
  const [assigned = ""] = await readPackets(nobody, 1);
  assert.match(assigned, /12[0-9a-f]{4}6175746f2d/, "the assigned id begins with auto-");
});

Deno.test("Every packet of 5.0 has its bytes in both directions", async () => {
  await using app = await startMqtt();
  using client = await open5(app);
  const [t0, t1, t2] = [text("x/0"), text("x/1"), text("x/2")];
  await exchange(client, [packet("82", `0001 00 ${t0}00 ${t1}01 ${t2}02`)], [
    packet("90", "0001 00 00 01 02"),
  ]);
  await exchange(client, [packet("30", `${t0} 00 41`)], [packet("30", `${t0} 00 41`)]);
  await exchange(client, [packet("32", `${t1} 0005 00 41`)], [
    packet("32", `${t1} 0001 00 41`),
    "40020005",
  ]);
  await exchange(client, ["40020001", PING], [PONG]);
  await exchange(client, [packet("34", `${t2} 0006 00 41`)], [
    packet("34", `${t2} 0002 00 41`),
    "50020006",
  ]);
  await exchange(client, [packet("50", "0002 00 00")], ["62020002"]);
  await exchange(client, [packet("62", "0006 00")], ["70020006"]);
  await exchange(client, [packet("70", "0002 00"), PING], [PONG]);
  // Packet ids that stand for nothing.
  await exchange(client, ["6202000e"], [packet("70", "000e 92 00")]);
  await exchange(client, ["5002000f"], [packet("62", "000f 92 00")]);
  // Nobody is subscribed; the topic is the server's; the packet id of a refused message is free.
  await exchange(client, [packet("32", `${text("y")} 0007 00 41`)], [packet("40", "0007 10 00")]);
  await exchange(client, [packet("32", `${text("$y")} 0007 00 41`)], [packet("40", "0007 90 00")]);
  await exchange(client, [packet("34", `${text("$y")} 0007 00 41`)], [packet("50", "0007 90 00")]);
  await exchange(client, [packet("a2", `0008 00 ${t1} ${t1}`)], [packet("b0", "0008 00 00 11")]);
  await exchange(client, [packet("82", `0009 00 ${text("$SYS/#")}00`)], [packet("90", "0009 00 8f")]);
  // DISCONNECT with a reason and no properties, then with neither.
  await client.send("e00100");
  assert.equal(await client.readAll(), "");
});

Deno.test("Properties of 5.0 arrive as they were sent, and those of the subscription with them", async () => {
  await using app = await startMqtt();
  using client = await open5(app, "03 220005");
  const topic = text("x/1");
  // Subscription identifier 7, retain as published.
  await exchange(client, [packet("82", `0001 02 0b07 ${topic}09`)], [packet("90", "0001 00 01")]);
  // UTF-8, content type, response topic, correlation data, a user property twice.
  const parts = [
    "0101",
    `03${text("t/x")}`,
    `08${text("re")}`,
    "09000263ff",
    `26${text("a")}${text("b")}`,
    `26${text("a")}${text("c")}`,
  ];
  const properties = parts.join("");
  const length = (properties.length / 2).toString(16).padStart(2, "0");
  await client.send(packet("33", `${topic} 0005 ${length}${properties} 4142`));
  const [message = "", ack] = await readPackets(client, 2);
  assert.equal(ack, "40020005");
  // The first with an alias names it. The order of properties is free (section 2.2.2.2).
  const head = `33${(message.length / 2 - 2).toString(16).padStart(2, "0")}${topic}0001`;
  assert.ok(message.startsWith(head), message);
  for (const part of [...parts, "0b07", "230001"]) assert.ok(message.includes(part), `${part} in ${message}`);
  assert.equal(message.length, head.length + 2 + properties.length + "0b07230001".length + 4);
  assert.ok(message.endsWith("4142"));
  await exchange(client, ["40020001"], []);
  // The second is named by the alias alone.
  await client.send(packet("32", `${topic} 0006 00 43`));
  const [second = ""] = await readPackets(client, 2);
  assert.match(second, /^32[0-9a-f]{2}0000000205(0b07230001|2300010b07)43$/);
  // Aliases of the client: one is set, and used.
  await exchange(client, [
    "40020002",
    packet("30", `${text("y")} 03 230001 44`),
    packet("30", "0000 03 230001 45"),
    PING,
  ], [PONG]);
  const { messages } = await (await fetch(`${app.url}/y?since=earliest`)).json();
  assert.equal(messages.length, 2);
});

Deno.test("A message that expires tells how long it still lives", async () => {
  await using app = await startMqtt();
  using client = await open5(app);
  await exchange(client, [packet("82", `0001 00 ${text("x")}00`)], [packet("90", "0001 00 00")]);
  await exchange(client, [packet("30", `${text("x")} 05 020000003c 41`)], [
    packet("30", `${text("x")} 05 020000003c 41`),
  ]);
});

Deno.test("DISCONNECT of the server has the reason, and a text that says it", async () => {
  await using app = await startMqtt();
  using first = await open5(app);
  using _second = await open5(app);
  const [taken = ""] = await readPackets(first, 1);
  assert.match(taken, /^e0[0-9a-f]{2}8e[0-9a-f]{2}1f/);
  assert.equal(await first.readAll(), "");
});

Deno.test("AUTH is refused: there is no extended authentication", async () => {
  await using app = await startMqtt();
  using asking = await RawClient.open(app);
  await asking.send(connect("05", "02", `07 15${text("SCRM")}`));
  const [connack = ""] = await readPackets(asking, 1);
  assert.match(connack, /^20[0-9a-f]{2}008c/);
  assert.equal(await asking.readAll(), "");
  using client = await open5(app);
  await client.send("f0021800");
  assert.match((await readPackets(client, 1))[0] ?? "", /^e0[0-9a-f]{2}82/);
});

Deno.test("A client of 5.0 may have as many messages unacknowledged as it was told, and one more ends its connection", async () => {
  await using app = await startMqtt("--mqtt-max-inflight", "2");
  const send = (id: string, qos: 1 | 2 = 2) => packet(qos === 1 ? "32" : "34", `${text("q")} ${id} 00 41`);
  using client = await open5(app);
  // Acknowledged ones, of QoS 1 and of QoS 2 up to PUBCOMP, do not count.
  for (const id of ["0001", "0002", "0003"]) {
    await exchange(client, [send(id, 1)], [packet("40", `${id} 10 00`)]);
    await exchange(client, [send(id)], [packet("50", `${id} 10 00`)]);
    await exchange(client, [`6202${id}`], [`7002${id}`]);
  }
  await exchange(client, [send("0001"), send("0002")], [
    packet("50", "0001 10 00"),
    packet("50", "0002 10 00"),
  ]);
  // One of them again is none more.
  await exchange(client, [packet("3c", `${text("q")} 0001 00 41`)], [packet("50", "0001 10 00")]);
  await client.send(send("0003", 1));
  assert.match((await readPackets(client, 1))[0] ?? "", /^e0[0-9a-f]{2}93/);
  assert.equal(await client.readAll(), "");
});

Deno.test("Subscribers of every version and QoS get a message in their own bytes", async () => {
  await using app = await startMqtt();
  const topic = text("x");
  const clients: (readonly [client: RawClient, expected: string])[] = [];
  for (
    const [id, version, qos, expected] of [
      ["s", "04", "00", packet("30", `${topic}41`)],
      ["t", "04", "00", packet("30", `${topic}41`)],
      ["u", "04", "01", packet("32", `${topic} 0001 41`)],
      ["v", "05", "00", packet("30", `${topic} 00 41`)],
      ["w", "05", "02", packet("34", `${topic} 0001 00 41`)],
    ] as const
  ) {
    const client = await RawClient.open(app);
    const properties = version === "05" ? "00" : "";
    await client.send(packet("10", `${text("MQTT")}${version}020078${properties}${text(id)}`));
    await readPackets(client, 1);
    await exchange(client, [packet("82", `0001 ${properties} ${topic}${qos}`)], [
      packet("90", `0001 ${properties} ${qos}`),
    ]);
    clients.push([client, expected]);
  }
  const publisher = await open5(app);
  await publisher.send(packet("35", `${topic} 0001 00 41`));
  for (const [client, expected] of clients) assert.deepEqual(await readPackets(client, 1), [expected]);
  for (const client of [publisher, ...clients.map(([client]) => client)]) client[Symbol.dispose]();
});
