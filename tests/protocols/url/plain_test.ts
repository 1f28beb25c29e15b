/** The plain WebSocket protocol over a real listener: what the five seed programs and every page rely on. */
import assert from "node:assert/strict";
import { startApp } from "../../test_app.ts";
import { TestSocket } from "../../test_socket.ts";

Deno.test("A plain socket's text reaches everyone else on the channel, in order, and not itself", async () => {
  await using server = await startApp();
  await using sender = await TestSocket.open(`${server.socketUrl}/news`);
  await using near = await TestSocket.open(`${server.socketUrl}/news`);
  await using far = await TestSocket.open(`${server.socketUrl}/news`);
  await using elsewhere = await TestSocket.open(`${server.socketUrl}/other`);
  for (let i = 0; i < 50; i++) sender.send(`message ${i}`);
  for (const socket of [near, far]) {
    for (let i = 0; i < 50; i++) assert.equal(await socket.next(), `message ${i}`);
  }
  near.send("back");
  assert.equal(await sender.next(), "back");
  assert.equal(await far.next(), "back");
  assert.deepEqual([...sender.unread, ...near.unread, ...elsewhere.unread], []);
});

Deno.test("A plain socket passes binary frames on as binary frames", async () => {
  await using server = await startApp();
  await using sender = await TestSocket.open(`${server.socketUrl}/blobs`);
  await using receiver = await TestSocket.open(`${server.socketUrl}/blobs`);
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  sender.send(bytes);
  assert.deepEqual(await receiver.next(), bytes);
});

Deno.test("Hello is answered World! to its sender alone, and passed on", async () => {
  await using server = await startApp();
  await using sender = await TestSocket.open(server.socketUrl);
  await using other = await TestSocket.open(server.socketUrl);
  sender.send("Hello");
  assert.equal(await sender.next(), "World!");
  assert.equal(await other.next(), "Hello");
  sender.send("bye");
  assert.equal(await other.next(), "bye");
});

Deno.test("/who, /time and /help are answered to their sender alone and not passed on", async () => {
  await using server = await startApp();
  await using john = await TestSocket.open(`${server.socketUrl}/room?name=John`);
  await using mary = await TestSocket.open(`${server.socketUrl}/room?id=mary1`);
  john.send("/who");
  assert.equal(await john.next(), "John, mary1");
  john.send("/time");
  assert.match(String(await john.next()), /^\d{4}-\d\d-\d\dT.*Z$/);
  john.send("/help");
  assert.match(String(await john.next()), /^Hello: World!\n\/who: /);
  john.send("/who is there?");
  assert.equal(await mary.next(), "/who is there?");
});

Deno.test("/echo gives everything back to its sender, byte for byte, and nothing to others", async () => {
  await using server = await startApp();
  await using sender = await TestSocket.open(`${server.socketUrl}/echo`);
  await using other = await TestSocket.open(`${server.socketUrl}/echo`);
  for (const text of ["Hello", "/who", "", "\u0000\u{1F327}"]) {
    sender.send(text);
    assert.equal(await sender.next(), text);
  }
  const bytes = new Uint8Array([0, 255, 13, 10]);
  sender.send(bytes);
  assert.deepEqual(await sender.next(), bytes);
  other.send("mine");
  assert.equal(await other.next(), "mine");
  assert.deepEqual(sender.unread, []);
});

Deno.test("A message beyond the limit closes its sender with 1009 and a reason naming the limit", async () => {
  await using server = await startApp("--max-message-bytes", "1000");
  await using sender = await TestSocket.open(`${server.socketUrl}/news`);
  await using other = await TestSocket.open(`${server.socketUrl}/news`);
  sender.send("é".repeat(500));
  assert.equal(await other.next(), "é".repeat(500));
  sender.send("é".repeat(501));
  const { code, reason } = await sender.closed;
  assert.equal(code, 1009);
  assert.match(reason, /1002 bytes; the limit is 1000/);
  await using another = await TestSocket.open(`${server.socketUrl}/news`);
  another.send("still here");
  assert.equal(await other.next(), "still here");
});

Deno.test("A socket on a pattern or list reads all its channels and cannot send", async () => {
  await using server = await startApp();
  await using list = await TestSocket.open(`${server.socketUrl}/news,ops`);
  await using pattern = await TestSocket.open(`${server.socketUrl}/orders/**`);
  for (const channel of ["news", "ops", "other", "orders/1/lines"]) {
    const response = await fetch(`${server.url}/${channel}`, { method: "POST", body: `to ${channel}` });
    await response.body?.cancel();
  }
  assert.equal(await list.next(), "to news");
  assert.equal(await list.next(), "to ops");
  assert.equal(await pattern.next(), "to orders/1/lines");
  pattern.send("/who");
  assert.match(String(await pattern.next()), /several channels/);
  pattern.send("text");
  const { code, reason } = await pattern.closed;
  assert.equal(code, 4400);
  assert.match(reason, /one channel's URL/);
});

Deno.test("A client with an id is addressed alone, on all its connections", async () => {
  await using server = await startApp();
  await using first = await TestSocket.open(`${server.socketUrl}/?id=id1`);
  await using second = await TestSocket.open(`${server.socketUrl}/news?id=id1`);
  await using other = await TestSocket.open(`${server.socketUrl}/?id=id2`);
  const response = await fetch(`${server.url}/@id1`, { method: "POST", body: "only you" });
  assert.equal((await response.json()).subscribers, 2);
  assert.equal(await first.next(), "only you");
  assert.equal(await second.next(), "only you");
  const onChannel = await fetch(`${server.url}/news?to=id1`, { method: "POST", body: "only here" });
  assert.equal((await onChannel.json()).subscribers, 1);
  assert.equal(await second.next(), "only here");
  assert.deepEqual([...first.unread, ...other.unread], []);
});

Deno.test("A plain socket with since gets the stored messages first, then the live ones", async () => {
  await using server = await startApp();
  await using writer = await TestSocket.open(`${server.socketUrl}/news`);
  for (let i = 1; i <= 600; i++) {
    const response = await fetch(`${server.url}/news`, { method: "POST", body: `message ${i}` });
    await response.body?.cancel();
  }
  await using reader = await TestSocket.open(`${server.socketUrl}/news?since=10`);
  writer.send("live");
  for (let i = 11; i <= 600; i++) assert.equal(await reader.next(), `message ${i}`);
  assert.equal(await reader.next(), "live");
});

Deno.test("A plain socket whose history is gone is closed with 4410 and told so", async () => {
  await using server = await startApp();
  await using reader = await TestSocket.open(`${server.socketUrl}/news?since=unknown-7`);
  const { code, reason } = await reader.closed;
  assert.equal(code, 4410);
  assert.match(reason, /gone/);
});

Deno.test("A handshake with a bad id, name or channel is refused with 400", async () => {
  await using server = await startApp();
  for (
    const path of [
      "/news?id=a%20b",
      "/news?name=",
      "/news?name=a%0Ab",
      "/a//b",
      "/news?since=soon",
    ]
  ) {
    await assert.rejects(TestSocket.open(server.socketUrl + path), path);
    const response = await fetch(server.url + path, {
      headers: { upgrade: "websocket", accept: "application/json" },
    });
    assert.equal(response.status, 400, path);
    assert.ok((await response.json()).detail.length > 20);
  }
});

const OFFERS: readonly [offered: string[], chosen: string][] = [
  [["chat"], "chat"],
  [["chat", "superchat"], "chat"],
  [["json.v2+x"], "json.v2+x"],
  [["mqtt", "chat"], "chat"],
  [[], ""],
  [["mqtt"], ""],
  [["centrifuge-protobuf"], ""],
  [["graphql-transport-ws"], ""],
];

for (const [offered, chosen] of OFFERS) {
  Deno.test(`A plain socket that offers [${offered}] is answered ${JSON.stringify(chosen)}`, async () => {
    await using server = await startApp();
    for (const path of ["/news", "/echo"]) {
      await using socket = await TestSocket.open(server.socketUrl + path, { protocols: offered });
      // Browsers fail a connection whose offers are not answered; this client does not.
      assert.equal(socket.webSocket.protocol, chosen);
    }
    const warned = server.logger.entries.some(({ event }) => event === "subprotocol not spoken");
    assert.equal(warned, offered.length > 0 && chosen === "");
  });
}
