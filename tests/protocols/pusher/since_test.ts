/** `since` in a subscribe: the extension by which clients that know positions resume without a loss. */
import assert from "node:assert/strict";
import type { TestApp } from "../../test_app.ts";
import { openServerLibrary, RawPusher, sign, startPusherApp } from "./pusher_app.ts";

async function post({ url }: TestApp, channel: string, ...texts: readonly string[]): Promise<void> {
  for (const body of texts) {
    await (await fetch(`${url}/${channel}`, { method: "POST", body })).body?.cancel();
  }
}

/** The next frame as `event`, its data and its id. */
async function read(client: RawPusher): Promise<{ event: string; data: unknown; id: string | undefined }> {
  const { event, data, id } = JSON.parse(await client.read());
  return { event, data: JSON.parse(data), id };
}

const SUCCEEDED = "pusher_internal:subscription_succeeded";
const POSITION = /^[0-9a-z]+-\d+$/;

Deno.test("since latest says where the channel stands, and numbers what comes, to the letter", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  await post(server, "news", "before");
  client.send("pusher:subscribe", { channel: "news", since: "latest" });
  const { event, data } = await read(client);
  assert.equal(event, SUCCEEDED);
  const { id } = data as { id: string };
  const epoch = id.split("-")[0];
  assert.equal(id, `${epoch}-1`);
  await post(server, "news", "after");
  assert.equal(
    await client.read(),
    `{"event":"message","channel":"news","data":"\\"after\\"","id":"${epoch}-2"}`,
  );
});

Deno.test("since earliest replays all events, then goes on", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  await openServerLibrary(server).trigger("news", "created", { a: 1 });
  await post(server, "news", "two");
  client.send("pusher:subscribe", { channel: "news", since: "earliest" });
  assert.deepEqual(await read(client), { event: SUCCEEDED, data: {}, id: undefined });
  const replayed = [await read(client), await read(client)];
  assert.deepEqual(replayed.map(({ event, data }) => [event, data]), [["created", { a: 1 }], [
    "message",
    "two",
  ]]);
  for (const { id } of replayed) assert.match(id ?? "", POSITION);
  await post(server, "news", "three");
  assert.equal((await read(client)).data, "three");
});

Deno.test("a client that resumes by its last id misses nothing and gets nothing twice", async () => {
  await using server = await startPusherApp();
  let last = "";
  const seen: unknown[] = [];
  let published = 0;
  const publishSome = async (count: number) => {
    for (let i = 0; i < count; i++) await post(server, "news", `m${published++}`);
  };
  for (let round = 0; round < 4; round++) {
    await using client = await RawPusher.connect(server);
    client.send("pusher:subscribe", { channel: "news", since: last === "" ? "latest" : last });
    // While it replays, more comes.
    if (last === "") await client.read();
    const publishing = publishSome(10);
    const wanted = last === "" ? 10 : 20;
    for (let i = 0; i < wanted;) {
      const { event, data, id } = await read(client);
      if (event === SUCCEEDED) continue;
      assert.equal(event, "message");
      seen.push(data);
      last = id ?? "";
      i++;
    }
    await publishing;
    await client[Symbol.asyncDispose]();
    await publishSome(10);
  }
  assert.deepEqual(seen, Array.from({ length: 70 }, (_, i) => `m${i}`));
});

Deno.test("what is gone is told as a gap, before what is left", async () => {
  const rules = await Deno.makeTempFile();
  await Deno.writeTextFile(rules, JSON.stringify([{ channels: "news", history: { messages: 2 } }]));
  await using server = await startPusherApp("--rules", rules);
  await Deno.remove(rules);
  await post(server, "news", "1", "2", "3", "4");
  const { messages } = await (await fetch(`${server.url}/news?since=earliest`)).json();
  const [epoch] = messages[0].id.split("-");
  for (const since of [1, "1", `${epoch}-1`, "otherepoch-1"]) {
    await using client = await RawPusher.connect(server);
    client.send("pusher:subscribe", { channel: "news", since });
    await client.read();
    assert.equal(
      await client.read(),
      `{"event":"raindrops:gap","channel":"news","data":"{\\"id\\":\\"${epoch}-2\\",\\"earliest\\":\\"${epoch}-3\\"}"}`,
    );
    assert.deepEqual([(await read(client)).data, (await read(client)).data], ["3", "4"]);
  }
});

Deno.test("private channels are replayed to those whose signature opens them, and to nobody else", async () => {
  await using server = await startPusherApp("RAINDROPS_TOKEN_SECRET=secret-0123456789-0123456789-0123456789");
  await using client = await RawPusher.connect(server);
  await openServerLibrary(server).trigger("private-a", "e", "hidden");
  client.send("pusher:subscribe", { channel: "private-a", since: "earliest" });
  assert.match(await client.read(), /subscription_error.*AuthError/);
  const auth = sign(`${client.socketId}:private-a`);
  client.send("pusher:subscribe", { channel: "private-a", since: "earliest", auth });
  assert.match(await client.read(), /subscription_succeeded/);
  assert.equal((await read(client)).data, "hidden");
  client.send("pusher:subscribe", { channel: "news", since: "earliest" });
  assert.match(await client.read(), /subscription_error.*AuthError/);
});

Deno.test("client events carry no id, and presence channels say who is there beside the position", async () => {
  await using server = await startPusherApp();
  await using one = await RawPusher.connect(server);
  await using two = await RawPusher.connect(server);
  const join = async (client: RawPusher, user: string) => {
    const channel_data = JSON.stringify({ user_id: user });
    const auth = sign(`${client.socketId}:presence-a:${channel_data}`);
    client.send("pusher:subscribe", { channel: "presence-a", auth, channel_data, since: "latest" });
    return (await read(client)).data as { presence: { ids: string[] }; id: string };
  };
  const { presence, id } = await join(one, "1");
  assert.deepEqual(presence.ids, ["1"]);
  assert.match(id, POSITION);
  assert.deepEqual((await join(two, "2")).presence.ids, ["1", "2"]);
  assert.equal((await read(one)).event, "pusher_internal:member_added");
  two.send("client-a", 1, "presence-a");
  assert.equal(await one.read(), '{"event":"client-a","channel":"presence-a","data":"1","user_id":"2"}');
});

Deno.test("a cache channel with since gives what came since then, and no miss", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  client.send("pusher:subscribe", { channel: "cache-a", since: "earliest" });
  assert.equal((await read(client)).event, SUCCEEDED);
  await post(server, "cache-a", "one");
  assert.equal((await read(client)).data, "one");
});

Deno.test("a since that is not understood, or a channel without history, says so or begins with what comes", async () => {
  const rules = await Deno.makeTempFile();
  await Deno.writeTextFile(rules, JSON.stringify([{ channels: "cursors", ephemeral: true }]));
  await using server = await startPusherApp("--rules", rules);
  await Deno.remove(rules);
  await using client = await RawPusher.connect(server);
  for (const since of ["yesterday", "", -1, true, [], "1.5"]) {
    client.send("pusher:subscribe", { channel: "news", since });
    const { event, data } = await read(client);
    assert.equal(event, "pusher:subscription_error");
    assert.deepEqual(
      [(data as { type: string }).type, (data as { status: number }).status],
      ["InvalidSince", 400],
    );
  }
  client.send("pusher:subscribe", { channel: "cursors", since: "earliest" });
  assert.equal((await read(client)).event, SUCCEEDED);
  await post(server, "cursors", "now");
  assert.deepEqual(await read(client), { event: "message", data: "now", id: undefined });
});
