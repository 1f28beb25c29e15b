/** Every frame of the Pusher protocol to the letter: what a client says, and all that it is answered. */
import assert from "node:assert/strict";
import { type Member, Presence } from "../../../lib/core/presence.ts";
import { encodeError, encodeEscapedFrame, parseFrame } from "../../../lib/protocols/pusher/frames.ts";
import { encodePresence } from "../../../lib/protocols/pusher/rooms.ts";
import type { TestApp } from "../../test_app.ts";
import { APP, openServerLibrary, RawPusher, sign, startPusherApp, startPusherApps } from "./pusher_app.ts";

Deno.test("the first frame names the socket and the activity timeout", async () => {
  await using server = await startPusherApp("--pusher-activity-timeout", "77");
  await using client = await RawPusher.open(server);
  assert.match(
    await client.read(),
    /^\{"event":"pusher:connection_established","data":"\{\\"socket_id\\":\\"\d+\.\d+\\",\\"activity_timeout\\":77\}"\}$/,
  );
});

/** One exchange: frames of a client, by its socket id, and the frames of the server. */
interface Exchange {
  readonly name: string;
  readonly say: (socketId: string) => readonly unknown[];
  readonly answers: readonly string[];
}

const JOHN = '{"user_id":"1","user_info":{"name":"John"}}';
const ANN = '{"id":"ann","user_info":{"name":"Ann"}}';

const subscribe = (data: object) => ({ event: "pusher:subscribe", data });
const succeeded = (channel: string, data = "{}") =>
  `{"event":"pusher_internal:subscription_succeeded","channel":"${channel}","data":${JSON.stringify(data)}}`;
const failed = (channel: string, type: string, error: string, status: number) =>
  `{"event":"pusher:subscription_error","channel":"${channel}","data":${
    JSON.stringify(JSON.stringify({ type, error, status }))
  }}`;
const refused = (message: string, code = 4301) =>
  `{"event":"pusher:error","data":{"code":${code},"message":${JSON.stringify(message)}}}`;
const UNSIGNED =
  "The connection is unauthorized: the auth is not the signature of this socket, channel and data";

function signedSubscribe(id: string, channel: string): unknown {
  return subscribe({ channel, auth: sign(`${id}:${channel}`) });
}

function joinAs(id: string, channel: string, channel_data: string): unknown {
  return subscribe({ channel, channel_data, auth: sign(`${id}:${channel}:${channel_data}`) });
}

function signIn(id: string, user_data = ANN): unknown {
  return { event: "pusher:signin", data: { user_data, auth: sign(`${id}::user::${user_data}`) } };
}

const SIGNED_IN = `{"event":"pusher:signin_success","data":${
  JSON.stringify(JSON.stringify({ user_data: ANN }))
}}`;

const EXCHANGES: readonly Exchange[] = [
  {
    name: "a ping",
    say: () => [{ event: "pusher:ping", data: {} }],
    answers: ['{"event":"pusher:pong","data":"{}"}'],
  },
  {
    name: "a ping without data",
    say: () => [{ event: "pusher:ping" }],
    answers: ['{"event":"pusher:pong","data":"{}"}'],
  },
  { name: "a pong", say: () => [{ event: "pusher:pong", data: {} }], answers: [] },
  { name: "an event of a newer protocol", say: () => [{ event: "pusher:new", data: {} }], answers: [] },
  { name: "a subscribe", say: () => [subscribe({ channel: "news" })], answers: [succeeded("news")] },
  {
    name: "a subscribe whose data is a string",
    say: () => [{ event: "pusher:subscribe", data: '{"channel":"other"}' }],
    answers: [succeeded("other")],
  },
  {
    name: "a second subscribe",
    say: () => [subscribe({ channel: "news" }), subscribe({ channel: "news" })],
    answers: [succeeded("news")],
  },
  {
    name: "an unsubscribe, and a subscribe again",
    say: () => [
      subscribe({ channel: "news" }),
      { event: "pusher:unsubscribe", data: { channel: "news" } },
      { event: "pusher:unsubscribe", data: { channel: "news" } },
      subscribe({ channel: "news" }),
    ],
    answers: [succeeded("news"), succeeded("news")],
  },
  {
    name: "a private subscribe",
    say: (id) => [signedSubscribe(id, "private-a")],
    answers: [succeeded("private-a")],
  },
  {
    name: "a private subscribe with data that is signed, too",
    say: (id) => [joinAs(id, "private-a", '{"user_id":"1"}')],
    answers: [succeeded("private-a")],
  },
  {
    name: "an encrypted subscribe",
    say: (id) => [signedSubscribe(id, "private-encrypted-a")],
    answers: [succeeded("private-encrypted-a")],
  },
  {
    name: "a presence subscribe",
    say: (id) => [joinAs(id, "presence-a", JOHN)],
    answers: [
      succeeded("presence-a", '{"presence":{"count":1,"ids":["1"],"hash":{"1":{"name":"John"}}}}'),
    ],
  },
  {
    name: "a presence subscribe without user_info",
    say: (id) => [joinAs(id, "presence-a", '{"user_id":7}')],
    answers: [succeeded("presence-a", '{"presence":{"count":1,"ids":["7"],"hash":{"7":null}}}')],
  },
  {
    name: "a presence subscribe of who has signed in, without channel_data",
    say: (id) => [signIn(id), signedSubscribe(id, "presence-a")],
    answers: [
      SIGNED_IN,
      succeeded("presence-a", '{"presence":{"count":1,"ids":["ann"],"hash":{"ann":{"name":"Ann"}}}}'),
    ],
  },
  ...["cache-a", "private-cache-a", "private-encrypted-cache-a"].map((channel) => ({
    name: `a subscribe to the empty ${channel}`,
    say: (id: string) => [signedSubscribe(id, channel)],
    answers: [succeeded(channel), `{"event":"pusher:cache_miss","channel":"${channel}","data":"{}"}`],
  })),
  {
    name: "a subscribe to the empty presence-cache-a",
    say: (id) => [joinAs(id, "presence-cache-a", '{"user_id":"1"}')],
    answers: [
      succeeded("presence-cache-a", '{"presence":{"count":1,"ids":["1"],"hash":{"1":null}}}'),
      '{"event":"pusher:cache_miss","channel":"presence-cache-a","data":"{}"}',
    ],
  },
  { name: "a sign-in", say: (id) => [signIn(id)], answers: [SIGNED_IN] },
  {
    name: "a sign-in, and the channel of the user",
    say: (id) => [signIn(id), subscribe({ channel: "#server-to-user-ann" })],
    answers: [SIGNED_IN, succeeded("#server-to-user-ann")],
  },
  {
    name: "the channel of a user who has not signed in",
    say: () => [subscribe({ channel: "#server-to-user-ann" })],
    answers: [
      failed("#server-to-user-ann", "AuthError", "Sign in as that user first: pusher.signin()", 401),
    ],
  },
  {
    name: "the channel of another user, signed or not",
    say: (id) => [
      signIn(id),
      subscribe({ channel: "#server-to-user-ben" }),
      signedSubscribe(id, "#server-to-user-ben"),
    ],
    answers: [
      SIGNED_IN,
      failed("#server-to-user-ben", "AuthError", "Sign in as that user first: pusher.signin()", 401),
      failed("#server-to-user-ben", "AuthError", "Sign in as that user first: pusher.signin()", 401),
    ],
  },
  {
    name: "a private subscribe without auth",
    say: () => [subscribe({ channel: "private-b" })],
    answers: [failed("private-b", "AuthError", UNSIGNED, 401)],
  },
  {
    name: "a private subscribe with another socket's signature",
    say: () => [subscribe({ channel: "private-b", auth: sign("1.1:private-b") })],
    answers: [failed("private-b", "AuthError", UNSIGNED, 401)],
  },
  {
    name: "a presence subscribe without channel_data",
    say: (id) => [signedSubscribe(id, "presence-a")],
    answers: [
      failed(
        "presence-a",
        "AuthError",
        "channel_data is not JSON: it needs user_id, and may have user_info",
        400,
      ),
    ],
  },
  {
    name: "a presence subscribe without user_id",
    say: (id) => [joinAs(id, "presence-a", "{}")],
    answers: [
      failed("presence-a", "AuthError", "channel_data needs user_id, of 1 to 128 characters", 400),
    ],
  },
  {
    name: "a presence subscribe with too much user_info",
    say: (id) => [joinAs(id, "presence-a", JSON.stringify({ user_id: "1", user_info: "x".repeat(1_023) }))],
    answers: [failed("presence-a", "AuthError", "user_info has more than 1024 bytes", 400)],
  },
  {
    name: "a subscribe without a channel",
    say: () => [subscribe({})],
    answers: [failed("", "InvalidChannel", "pusher:subscribe needs a channel", 400)],
  },
  {
    name: "a subscribe to a name that Pusher does not have",
    say: () => [subscribe({ channel: "a b" })],
    answers: [failed("a b", "InvalidChannel", 'Invalid channel name "a b"', 400)],
  },
  {
    name: "a subscribe with a since that says nothing",
    say: () => [subscribe({ channel: "news", since: {} })],
    answers: [failed("news", "InvalidSince", "since must be a string or a number", 400)],
  },
  {
    name: "a client event on a public channel",
    say: () => [subscribe({ channel: "news" }), { event: "client-a", channel: "news", data: {} }],
    answers: [succeeded("news"), refused("Client events are for private and presence channels")],
  },
  {
    name: "a client event on an encrypted channel",
    say: (id) => [
      signedSubscribe(id, "private-encrypted-a"),
      { event: "client-a", channel: "private-encrypted-a", data: {} },
    ],
    answers: [succeeded("private-encrypted-a"), refused("Client events are not for encrypted channels")],
  },
  {
    name: "a client event on the channel of a user",
    say: (id) => [signIn(id), { event: "client-a", channel: "#server-to-user-ann", data: {} }],
    answers: [SIGNED_IN, refused("Client events are for private and presence channels")],
  },
  {
    name: "a client event on a channel that is not subscribed to",
    say: () => [{ event: "client-a", channel: "private-a", data: {} }],
    answers: [refused("Client events are for channels that are subscribed to")],
  },
  {
    name: "a client event without a channel",
    say: () => [{ event: "client-a", data: {} }],
    answers: [refused("A client event needs a channel")],
  },
  {
    name: "a client event with too much data",
    say: (id) => [
      signedSubscribe(id, "private-a"),
      { event: "client-a", channel: "private-a", data: "x".repeat(10_241) },
    ],
    answers: [succeeded("private-a"), refused("The data is larger than 10240 bytes")],
  },
  {
    name: "a client event with a name that is too long",
    say: (id) => [
      signedSubscribe(id, "private-a"),
      { event: `client-${"n".repeat(200)}`, channel: "private-a", data: {} },
    ],
    answers: [succeeded("private-a"), refused("The event's name has more than 200 characters")],
  },
  {
    name: "an event that is none of the clients'",
    say: () => [{ event: "news", channel: "news", data: {} }],
    answers: [refused('Events of clients begin with "client-"')],
  },
  {
    name: "no JSON",
    say: () => ["hello"],
    answers: [refused("A frame must be a JSON object with event and data", 4200)],
  },
  {
    name: "an array",
    say: () => ["[]"],
    answers: [refused("A frame must be a JSON object with event and data", 4200)],
  },
  {
    name: "a frame without an event",
    say: () => [{ data: {} }],
    answers: [refused("A frame must have an event, which is a string", 4200)],
  },
  {
    name: "a channel that is a number",
    say: () => [{ event: "client-a", channel: 1, data: {} }],
    answers: [refused("A channel must be a string", 4200)],
  },
];

/** Reads all that has been answered, up to the answer to a ping, which comes last. */
async function readAll(client: RawPusher): Promise<string[]> {
  const PONG = '{"event":"pusher:pong","data":"{}"}';
  client.send("pusher:ping", {});
  const frames: string[] = [];
  for (let frame = await client.read(); frame !== PONG; frame = await client.read()) frames.push(frame);
  return frames;
}

for (const { name, say, answers } of EXCHANGES) {
  Deno.test(`${name} is answered to the letter`, async () => {
    await using server = await startPusherApp();
    await using client = await RawPusher.connect(server);
    for (const frame of say(client.socketId)) {
      client.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
    }
    for (const answer of answers) assert.equal(await client.read(), answer);
    assert.deepEqual(await readAll(client), []);
  });
}

async function post({ url }: TestApp, path: string, body: string, type: string): Promise<void> {
  const response = await fetch(url + path, { method: "POST", body, headers: { "content-type": type } });
  await response.body?.cancel();
}

Deno.test("what is published comes as event, channel and data as a JSON string", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  client.send("pusher:subscribe", { channel: "news" });
  await client.read();
  await post(server, "/news", "it rains", "text/plain");
  assert.equal(await client.read(), '{"event":"message","channel":"news","data":"\\"it rains\\""}');
  await post(server, "/news?event=w", '{ "mm": 1.0 }', "application/json");
  assert.equal(await client.read(), '{"event":"w","channel":"news","data":"{ \\"mm\\": 1.0 }"}');
  await openServerLibrary(server).trigger("news", "created", { id: 1 });
  assert.equal(await client.read(), '{"event":"created","channel":"news","data":"{\\"id\\":1}"}');
});

Deno.test("a cache channel gives its last event after the success", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  await openServerLibrary(server).trigger("cache-a", "old", 1);
  await openServerLibrary(server).trigger("cache-a", "now", 2);
  client.send("pusher:subscribe", { channel: "cache-a" });
  assert.equal(await client.read(), succeeded("cache-a"));
  assert.equal(await client.read(), '{"event":"now","channel":"cache-a","data":"2"}');
  assert.deepEqual(await readAll(client), []);
});

Deno.test("an event to a user comes on the channel of the user", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  const user = "org:1$ann@example.com";
  const data = JSON.stringify({ id: user });
  client.socket.send(JSON.stringify(signIn(client.socketId, data)));
  client.send("pusher:subscribe", { channel: `#server-to-user-${user}` });
  await client.read();
  assert.equal(await client.read(), succeeded(`#server-to-user-${user}`));
  await openServerLibrary(server).sendToUser(user, "note", "hello");
  assert.equal(
    await client.read(),
    `{"event":"note","channel":"#server-to-user-${user}","data":"\\"hello\\""}`,
  );
  assert.equal((await (await fetch(`${server.url}/healthz`)).text()).length > 0, true);
});

Deno.test("members and client events come to the others, with the user beside the data on presence channels", async () => {
  await using server = await startPusherApp();
  await using watcher = await RawPusher.connect(server);
  watcher.socket.send(JSON.stringify(joinAs(watcher.socketId, "presence-a", '{"user_id":"w"}')));
  watcher.socket.send(JSON.stringify(signedSubscribe(watcher.socketId, "private-a")));
  assert.equal((await readAll(watcher)).length, 2);
  {
    await using client = await RawPusher.connect(server);
    client.socket.send(JSON.stringify(joinAs(client.socketId, "presence-a", JOHN)));
    client.socket.send(JSON.stringify(signedSubscribe(client.socketId, "private-a")));
    assert.equal(
      await watcher.read(),
      '{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\\"user_id\\":\\"1\\",\\"user_info\\":{\\"name\\":\\"John\\"}}"}',
    );
    client.send("client-a", { at: 1 }, "presence-a");
    assert.equal(
      await watcher.read(),
      '{"event":"client-a","channel":"presence-a","data":"{\\"at\\":1}","user_id":"1"}',
    );
    client.send("client-b", "text", "private-a");
    assert.equal(await watcher.read(), '{"event":"client-b","channel":"private-a","data":"\\"text\\""}');
  }
  assert.equal(
    await watcher.read(),
    '{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\\"user_id\\":\\"1\\"}"}',
  );
});

Deno.test("subscription counts come where the app asks for them, and not on presence channels", async () => {
  await using server = await startPusherApps([{ ...APP, subscriptionCounts: true }]);
  await using client = await RawPusher.connect(server);
  client.send("pusher:subscribe", { channel: "news" });
  assert.equal(await client.read(), succeeded("news"));
  const count = (n: number) =>
    `{"event":"pusher_internal:subscription_count","channel":"news","data":"{\\"subscription_count\\":${n}}"}`;
  assert.equal(await client.read(), count(1));
  {
    await using other = await RawPusher.connect(server);
    other.send("pusher:subscribe", { channel: "news" });
    assert.equal(await client.read(), count(2));
  }
  assert.equal(await client.read(), count(1));
  client.socket.send(JSON.stringify(joinAs(client.socketId, "presence-a", JOHN)));
  assert.match((await readAll(client)).join(), /^[^,]*subscription_succeeded(?!.*subscription_count)/);
});

Deno.test("a client that is silent is pinged", async () => {
  await using server = await startPusherApp("--pusher-activity-timeout", "2", "--pusher-pong-timeout", "1");
  await using client = await RawPusher.connect(server);
  assert.equal(await client.read(), '{"event":"pusher:ping","data":"{}"}');
  assert.equal(await client.read(), refused("Pong reply not received in time", 4201));
  assert.equal((await client.socket.closed).code, 4201);
});

Deno.test("frames are read with data as an object, as JSON text and as text", () => {
  for (const data of [{ a: 1 }, '{"a":1}']) {
    assert.deepEqual(parseFrame(JSON.stringify({ event: "e", data })).data, { a: 1 });
  }
  assert.equal(parseFrame('{"event":"e","data":"{"}').data, "{");
  assert.equal(
    encodeError(4_200, 'a "b"').data,
    '{"event":"pusher:error","data":{"code":4200,"message":"a \\"b\\""}}',
  );
});

Deno.test("encodePresence() writes each user once, whatever its id and info are, and anew when the info changes", () => {
  const presence = new Presence();
  const create = (user: string | undefined, info: string | undefined, name?: string): Member => {
    return { id: "client", name, user, channelInfo: info, protocol: "pusher", since: 0 };
  };
  const members = [
    create('a"\\\n', '{"text":"é\\"\\\\\\u2028 "}'),
    create('a"\\\n', '"second connection"'),
    create("12", undefined, 'Name "x"'),
    create("__proto__", "[1, 2]"),
    create(undefined, undefined),
  ];
  for (const member of members) presence.join("room", member);
  const read = () => {
    const frame = encodeEscapedFrame("e", encodePresence({ presence } as never, "room"), "presence-room");
    const { event, channel, data } = JSON.parse(String(frame.data));
    assert.deepEqual([event, channel], ["e", "presence-room"]);
    return JSON.parse(data);
  };
  const ids = ['a"\\\n', "12", "__proto__", "client"];
  const { count, ids: told, hash } = read();
  assert.deepEqual([count, told], [4, ids]);
  assert.deepEqual(ids.map((id) => Object.getOwnPropertyDescriptor(hash, id)?.value), [
    { text: 'é"\\\u2028 ' },
    { name: 'Name "x"' },
    [1, 2],
    null,
  ]);
  (members[3] as { channelInfo?: string }).channelInfo = "[3]";
  assert.deepEqual(Object.getOwnPropertyDescriptor(read().hash, "__proto__")?.value, [3]);
});
