/**
 * Nobody fills what the server keeps for all: at every door one address, or one user, gets a share of it, is told so, and
 * has room again once it gives something back. What counts for whom is known after a restart.
 */
import assert from "node:assert/strict";
import { createToken, RawClient, startKeyedApp } from "../protocols/centrifuge/app.ts";
import { connectTo, startMqtt } from "../protocols/mqtt/app.ts";
import { startApp } from "../test_app.ts";

const KEY = "key-0123456789abcdef";
/** Pools of 20, of which one address may have 2. */
const POOLS = ["--max-scheduled", "20", "--mqtt-max-retained", "20", "--mqtt-max-sessions", "20"];
const BEHIND_PROXY = [...POOLS, "--trusted-proxy", "127.0.0.1", `RAINDROPS_API_KEYS=${KEY}`, "--open"];
const ONE = { "x-forwarded-for": "192.0.2.1" };
const OTHER = { "x-forwarded-for": "192.0.2.2" };
const USED_UP = /a share of what all have: .* or raise --max-share/;

type Headers = Readonly<Record<string, string>>;

async function post(url: string, path: string, headers: Headers, body = "rain") {
  const response = await fetch(url + path, {
    method: "POST",
    body,
    headers: { accept: "application/json", ...headers },
  });
  const answer = await response.json() as { title?: string; detail?: string; scheduled?: string };
  return { ...answer, status: response.status };
}

function assertUsedUp({ status, title, detail }: Awaited<ReturnType<typeof post>>): void {
  assert.deepEqual([status, title], [429, "Share used up"]);
  assert.match(String(detail), USED_UP);
}

function mqttOptions(headers: Headers, clientId: string) {
  return {
    clientId,
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 600 },
    wsOptions: { headers },
  } as const;
}

Deno.test("An address schedules its share of messages, and an API key as many as there may be", async () => {
  await using server = await startApp(...BEHIND_PROXY);
  const schedule = (headers: Headers) => post(server.url, "/news?delay=1h", headers);
  const first = await schedule(ONE);
  assert.equal(first.status, 202);
  // All at once: those that come while it is written count.
  const others = await Promise.all(Array.from({ length: 8 }, () => schedule(ONE)));
  assert.deepEqual(others.map(({ status }) => status).sort(), [202, ...Array(7).fill(429)]);
  others.filter(({ status }) => status !== 202).forEach(assertUsedUp);
  assert.equal((await schedule(OTHER)).status, 202);
  for (let i = 0; i < 3; i++) assert.equal((await schedule({ ...ONE, "x-api-key": KEY })).status, 202);
  const { ok, body } = await fetch(`${server.url}/_scheduled/${first.scheduled}`, {
    method: "DELETE",
    headers: ONE,
  });
  await body?.cancel();
  assert.ok(ok);
  assert.equal((await schedule(ONE)).status, 202);
  assertUsedUp(await schedule(ONE));
});

Deno.test("An address has its share of retained messages, by POST and by MQTT together", async () => {
  await using server = await startApp(...BEHIND_PROXY);
  const retain = (channel: string, headers: Headers, body = "on") =>
    post(server.url, `/${channel}?retain`, headers, body);
  assert.equal((await retain("lamps/1", ONE)).status, 200);
  await using client = await connectTo(`${server.socketUrl}/mqtt`, {
    ...mqttOptions(ONE, "one"),
    clean: true,
  });
  await client.client.publishAsync("lamps/2", "on", { qos: 1, retain: true });
  assertUsedUp(await retain("lamps/3", ONE));
  await assert.rejects(
    client.client.publishAsync("lamps/3", "on", { qos: 1, retain: true }),
    { code: 0x97 },
  );
  // What is refused is not published either, and what is not retained is.
  const { messages } = await (await fetch(`${server.url}/lamps/3?since=earliest`, { headers: ONE })).json();
  assert.deepEqual(messages, []);
  assert.equal((await post(server.url, "/lamps/3", ONE)).status, 200);
  assert.equal((await retain("lamps/1", ONE, "off")).status, 200, "in the place of one's own");
  assert.equal((await retain("lamps/3", OTHER)).status, 200);
  assert.equal((await retain("lamps/4", { ...ONE, "x-api-key": KEY })).status, 200);
  // Taking another's place costs a place.
  assertUsedUp(await retain("lamps/3", ONE));
  await client.client.publishAsync("lamps/2", "", { qos: 1, retain: true });
  assert.equal((await retain("lamps/3", ONE)).status, 200);
  const shown = await connectTo(`${server.socketUrl}/mqtt`);
  await using _ = shown;
  await shown.client.subscribeAsync("lamps/+", { qos: 1 });
  const packets = [await shown.next(), await shown.next(), await shown.next()];
  assert.doesNotMatch(JSON.stringify(packets.map(({ packet }) => packet.properties ?? {})), /owner/);
});

Deno.test("An address has its share of the keys of maps, by POST and by Centrifuge together", async () => {
  await using server = await startApp(...BEHIND_PROXY, "--max-all-map-keys", "20");
  const set = (channel: string, headers: Headers) => post(server.url, `/${channel}?key=k`, headers);
  await using client = await RawClient.open(server, undefined, { headers: ONE });
  await client.call("connect");
  const { error } = await client.call("publish", { channel: "scores/1", type: 1, key: "k", data: 1 });
  assert.equal(error, undefined);
  assert.equal((await set("scores/2", ONE)).status, 200);
  assertUsedUp(await set("scores/3", ONE));
  const refused = await client.call("publish", { channel: "scores/3", type: 1, key: "k", data: 1 });
  assert.match(String(refused.error?.message), USED_UP);
  assert.equal((await set("scores/1", ONE)).status, 200, "in the place of one's own");
  assert.equal((await set("scores/3", OTHER)).status, 200);
  assert.equal((await set("scores/4", { ...ONE, "x-api-key": KEY })).status, 200);
  assert.equal((await post(server.url, "/scores/1?key=k&removed", ONE)).status, 200);
  assert.equal((await set("scores/5", ONE)).status, 200);
});

Deno.test("An address keeps its share of MQTT sessions, and as many that end with their connection as it likes", async () => {
  await using server = await startApp(...BEHIND_PROXY);
  const open = async (headers: Headers, id: string, more = {}) => {
    const session = await connectTo(`${server.socketUrl}/mqtt`, { ...mqttOptions(headers, id), ...more });
    await session.client.endAsync();
  };
  await open(ONE, "a");
  await open(ONE, "b");
  await assert.rejects(open(ONE, "c"), (error: Error & { code?: number }) => {
    assert.equal(error.code, 0x97);
    return true;
  });
  const [refused] = server.logger.find("client refused");
  assert.match(String(refused?.reason), USED_UP);
  await open(ONE, "c", { clean: true, properties: {} });
  await open(ONE, "a");
  await open(OTHER, "d");
  await open(ONE, "e", { username: "operator", password: KEY });
  await open(ONE, "a", { clean: true, properties: {} });
  await open(ONE, "c");
});

Deno.test("A user has a share wherever it is, and leaves others at its address theirs", async () => {
  await using server = await startKeyedApp(
    [{ channels: "**", allowAnonymous: ["publish"] }],
    ...[...POOLS, "--trusted-proxy", "127.0.0.1"],
  );
  const [ann, bob] = await Promise.all(["ann", "bob"].map(async (sub) => ({
    authorization: `Bearer ${await createToken({ sub, pub: ["**"] })}`,
  })));
  const schedule = (headers: Headers) => post(server.url, "/news?delay=1h", headers);
  assert.equal((await schedule({ ...ONE, ...ann })).status, 202);
  assert.equal((await schedule({ ...OTHER, ...ann })).status, 202);
  assertUsedUp(await schedule({ ...ONE, ...ann }));
  assert.equal((await schedule({ ...ONE, ...bob })).status, 202);
  assert.equal((await schedule(ONE)).status, 202);
});

Deno.test("This machine has no share, unless one was set", async () => {
  for (const [settings, status] of [[[], 202], [["--max-share", "10"], 429]] as const) {
    await using server = await startApp(...POOLS, ...settings);
    for (let i = 0; i < 2; i++) assert.equal((await post(server.url, "/news?delay=1h", {})).status, 202);
    assert.equal((await post(server.url, "/news?delay=1h", {})).status, status);
  }
});

Deno.test("Shares count what was kept before a restart", async () => {
  const directory = await Deno.makeTempDir();
  const settings = ["--engine", `sqlite:${directory}/log.db`, ...BEHIND_PROXY];
  for (let i = 0; i < 2; i++) {
    await using server = await startMqtt(...settings);
    assert.equal((await post(server.url, "/news?delay=1h", ONE)).status, 202);
    assert.equal((await post(server.url, `/lamps/${i}?retain`, ONE)).status, 200);
    await using session = await connectTo(`${server.socketUrl}/mqtt`, mqttOptions(ONE, `client-${i}`));
    await session.client.endAsync();
  }
  await using server = await startMqtt(...settings);
  assertUsedUp(await post(server.url, "/news?delay=1h", ONE));
  assertUsedUp(await post(server.url, "/lamps/2?retain", ONE));
  await assert.rejects(connectTo(`${server.socketUrl}/mqtt`, mqttOptions(ONE, "client-2")), { code: 0x97 });
  assert.equal((await post(server.url, "/news?delay=1h", OTHER)).status, 202);
  await server[Symbol.asyncDispose]();
  await Deno.remove(directory, { recursive: true });
});
