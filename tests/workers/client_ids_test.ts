/** MQTT client ids where connections come to different workers of one server at the same moment. */
import assert from "node:assert/strict";
import { RawClient, startMqtt } from "../protocols/mqtt/app.ts";

/** CONNECT of 5.0 with a clean start, a keep-alive of 60 s and the client id "lamp". */
const CONNECT = "10110004 4d515454 05 02 003c 00 0004 6c616d70";
const PINGRESP = "d000";

/** Reads until the connection ends, or PINGRESP comes. */
async function isPinged(client: RawClient): Promise<boolean> {
  // Whoever has been ended may not be written to any more.
  await client.send("c000").catch(() => {});
  for (let head = await client.read(2); head !== ""; head = await client.read(2)) {
    if (head === PINGRESP) return true;
    await client.read(parseInt(head.slice(2), 16));
  }
  return false;
}

Deno.test("Of MQTT connections that come to several workers at once with one client id, exactly one stays", async () => {
  await using app = await startMqtt("--workers", "3");
  for (let round = 0; round < 20; round++) {
    const clients = await Promise.all(Array.from({ length: 4 }, () => RawClient.open(app)));
    await Promise.all(clients.map((client) => client.send(CONNECT)));
    const reasons = await Promise.all(clients.map(async (client) => {
      const head = await client.read(2);
      return (await client.read(parseInt(head.slice(2), 16))).slice(2, 4);
    }));
    assert.deepEqual(new Set([...reasons, "00", "89"]), new Set(["00", "89"]));
    const accepted = clients.filter((_, i) => reasons[i] === "00");
    const staying = (await Promise.all(accepted.map(isPinged))).filter((stays) => stays);
    assert.equal(staying.length, 1);
    for (const client of clients) client[Symbol.dispose]();
  }
});
