/**
 * Channels with names in every script, at every door: what is published under any normal form by one protocol arrives
 * by every other, and names that no channel can have are refused in words that help.
 */
import assert from "node:assert/strict";
import { Centrifuge, type Subscription } from "centrifuge";
import { Centrifuge as ProtobufCentrifuge } from "centrifuge/build/protobuf";
import { Receiver, SECRET } from "../hooks/receiver.ts";
import { RawSocket } from "../raw_socket.ts";
import { type LineReader, readLines } from "../read_lines.ts";
import { startApp, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";
import { createToken, startKeyedApp, startRuledApp } from "./centrifuge/app.ts";
import { connect, type MqttApp, startMqtt } from "./mqtt/app.ts";

/** Names in normal form, with what else is the same name. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  "café": ["cafe\u0301"],
  "新闻": [],
  "my room": [],
  "новости/погода й": ["новости/погода и\u0306"],
  "각/Å": ["\u1100\u1161\u11a8/A\u030a", "각/\u212b"],
  "🌧 ❤️/€#1": [],
};

/** The path of a name, as a browser writes it. */
function toPath(name: string): string {
  return `/${name.split("/").map(encodeURIComponent).join("/")}`;
}

async function publishByUrl({ url }: TestApp, name: string, text: string): Promise<void> {
  const response = await fetch(url + toPath(name), {
    method: "POST",
    body: text,
    headers: { accept: "application/json" },
  });
  const body = await response.text();
  assert.equal(response.status, 200, body);
  assert.equal(JSON.parse(body).channel, name.normalize("NFC"));
}

function openCentrifuge({ socketUrl }: TestApp, protobuf: boolean): Centrifuge {
  const url = `${socketUrl}/connection/websocket`;
  return protobuf ? new ProtobufCentrifuge(url) as unknown as Centrifuge : new Centrifuge(url);
}

/** The text of a publication of either build. */
function readText(data: unknown): string {
  return data instanceof Uint8Array ? new TextDecoder().decode(data).replaceAll('"', "") : String(data);
}

async function publishByCentrifuge(app: TestApp, name: string, text: string, protobuf: boolean) {
  const client = openCentrifuge(app, protobuf);
  client.connect();
  await client.publish(name, protobuf ? new TextEncoder().encode(JSON.stringify(text)) : text);
  client.disconnect();
}

const PUBLISHERS: Readonly<Record<string, (app: MqttApp, name: string, text: string) => Promise<void>>> = {
  "a URL": publishByUrl,
  "the API": async ({ url }, channel, data) => {
    const response = await fetch(`${url}/api/publish`, {
      method: "POST",
      body: JSON.stringify({ channel, data }),
    });
    assert.ok("result" in await response.json());
  },
  "a WebSocket": async ({ socketUrl }, name, text) => {
    await using socket = await TestSocket.open(socketUrl + toPath(name));
    socket.send(text);
    socket.send("/time");
    await socket.next();
  },
  "Centrifuge in JSON": (app, name, text) => publishByCentrifuge(app, name, text, false),
  "Centrifuge in Protobuf": (app, name, text) => publishByCentrifuge(app, name, text, true),
  "MQTT": async (app, name, text) => {
    // A wildcard of MQTT cannot stand in a topic.
    if (name.includes("#")) return await publishByUrl(app, name, text);
    await using device = await connect(app);
    await device.client.publishAsync(name, text, { qos: 1 });
  },
};

/** Subscribes under a name; answers with what reads the next text. */
type Read = { next(): Promise<string> } & AsyncDisposable;

async function readCentrifuge(app: TestApp, name: string, protobuf: boolean): Promise<Read> {
  const client = openCentrifuge(app, protobuf);
  const texts = Promise.withResolvers<string>();
  const subscription: Subscription = client.newSubscription(name);
  subscription.on("publication", ({ data }) => texts.resolve(readText(data)));
  client.connect();
  subscription.subscribe();
  await subscription.ready();
  return {
    next: () => texts.promise,
    [Symbol.asyncDispose]() {
      client.disconnect();
      return Promise.resolve();
    },
  };
}

async function readStream(lines: LineReader, pick: (line: string) => string | undefined): Promise<Read> {
  assert.equal(lines.response.status, 200);
  await lines.take(1);
  return {
    async next() {
      while (true) {
        const text = pick((await lines.take(1))[0]!);
        if (text !== undefined) return text;
      }
    },
    [Symbol.asyncDispose]: () => lines[Symbol.asyncDispose](),
  };
}

const READERS: Readonly<Record<string, (app: MqttApp, name: string) => Promise<Read>>> = {
  "an event stream": async ({ url }, name) =>
    await readStream(
      await readLines(url + toPath(name), { accept: "text/event-stream" }),
      (line) => /^data: ([^{].*)/.exec(line)?.[1],
    ),
  "a line stream": async ({ url }, name) =>
    await readStream(await readLines(`${url}${toPath(name)}?follow`), (line) => {
      const { channel, data } = JSON.parse(line);
      if (data !== undefined) assert.equal(channel, name.normalize("NFC"));
      return data;
    }),
  "a WebSocket": async ({ socketUrl }, name) => {
    const socket = await TestSocket.open(socketUrl + toPath(name));
    return {
      next: async () => String(await socket.next()),
      [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose](),
    };
  },
  "Centrifuge in JSON": (app, name) => readCentrifuge(app, name, false),
  "Centrifuge in Protobuf": (app, name) => readCentrifuge(app, name, true),
  "MQTT": async (app, name) => {
    const device = await connect(app);
    await device.client.subscribeAsync(name.replace(/[^/]*#[^/]*/, "+"));
    return {
      async next() {
        const { topic, text } = await device.next();
        assert.equal(topic, name.normalize("NFC"));
        return text;
      },
      [Symbol.asyncDispose]: () => device[Symbol.asyncDispose](),
    };
  },
};

for (const [name, others] of Object.entries(NAMES)) {
  Deno.test({
    name: `"${name}" is a channel by every protocol, under every normal form`,
    // The timers of MQTT.js and of Centrifuge's client outlive their connections for a moment.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using app = await startMqtt();
      const forms = [name, ...others];
      for (const [publisher, publish] of Object.entries(PUBLISHERS)) {
        for (const form of forms) {
          await using stack = new AsyncDisposableStack();
          const readers: (readonly [string, Read])[] = [];
          for (const [reader, open] of Object.entries(READERS)) {
            for (const spelling of forms) {
              readers.push([`${reader} under ${spelling.length}`, stack.use(await open(app, spelling))]);
            }
          }
          const text = `${publisher} to ${form.length}`;
          await publish(app, form, text);
          for (const [reader, read] of readers) {
            assert.equal(await read.next(), text, `${publisher} to ${reader}`);
          }
        }
      }
      const document = await (await fetch(`${app.url}${toPath(name)}?since=earliest`)).json();
      assert.equal(document.channel, name);
      assert.equal(document.messages.length, Object.keys(PUBLISHERS).length * forms.length);
    },
  });
}

for (const listener of ["deno", "node"]) {
  Deno.test(`${listener} listener: a path as it is typed, without percent signs, is the same channel`, async () => {
    await using app = await startApp("--listener", listener);
    for (const name of ["café", "cafe\u0301", "新闻/🌧"]) {
      await publishByUrl(app, name, name);
      // curl sends the path's bytes as they are.
      const { stdout } = await new Deno.Command("curl", {
        args: ["-sS", `${app.url}/${name}?since=earliest`],
      })
        .output();
      const answer = JSON.parse(new TextDecoder().decode(stdout));
      assert.equal(answer.channel, name.normalize("NFC"));
      assert.equal(answer.messages.at(-1).data, name);
    }
  });
}

Deno.test("The node listener, whose parser takes ASCII alone, says so of a typed path behind another request", async () => {
  await using app = await startApp("--listener", "node");
  using socket = await RawSocket.open(app.port);
  await socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await socket.readUntil("alive\n");
  await socket.write("GET /café HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const answer = await socket.readToEnd();
  assert.match(answer, /^HTTP\/1.1 400 /);
  assert.match(answer, /The path is not percent-encoded: send it as encodeURI/);
});

for (
  const escapes of ["%ff", "caf%c3", "%c0%af", "%e0%80%af", "%ed%a0%bd", "%f5%80%80%80", "%C1%A1", "%zz", "%"]
) {
  Deno.test(`The path /${escapes}, which is no UTF-8, is a bad request for whatever it is asked`, async () => {
    await using app = await startApp();
    // By hand: fetch() would not send all of these as they are.
    const ask = (method: string, headers = "") =>
      RawSocket.exchange(
        app.port,
        `${method} /${escapes} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n${headers}\r\n`,
      );
    for (const method of ["GET", "POST", "PUT", "DELETE"]) {
      const answer = await ask(method);
      assert.match(answer, /^HTTP\/1.1 400 /, method);
      assert.match(answer, /is not percent-encoded UTF-8/, method);
    }
    for (const accept of ["text/event-stream", "text/html"]) {
      assert.match(await ask("GET", `Accept: ${accept}\r\n`), /^HTTP\/1.1 400 /, accept);
    }
    await assert.rejects(TestSocket.open(`${app.socketUrl}/${escapes}`));
  });
}

/** Names that no channel has, and the valid ones that are suggested. */
const REFUSED: readonly (readonly [name: string, suggestion: string])[] = [
  ["a?b", "a-b"],
  ["50%", "50"],
  ["a*b", "a-b"],
  ["a\\b", "a/b"],
  ["a\u200bb", "ab"],
  ["a\u202eb", "ab"],
  ["a\u00a0b", "a b"],
  ["news ", "news"],
  ["新闻\u0000", "新闻"],
];

for (const [name, suggestion] of REFUSED) {
  Deno.test(`The name ${JSON.stringify(name)} is refused at every door, which suggests ${suggestion}`, async () => {
    await using app = await startMqtt();
    const advice = `Try ${JSON.stringify(suggestion)}`;
    if (!name.includes("*")) {
      const response = await fetch(app.url + toPath(name), { method: "POST", body: "x" });
      const { detail } = await response.json();
      assert.equal(response.status, 400);
      assert.ok(detail.includes(advice), detail);
    }
    const api = await fetch(`${app.url}/api/publish`, {
      method: "POST",
      body: JSON.stringify({ channel: name, data: 1 }),
    });
    const { error } = await api.json();
    assert.equal(error.code, 107);
    assert.ok(error.message.includes(advice), error.message);
    for (const protobuf of [false, true]) {
      const client = openCentrifuge(app, protobuf);
      client.connect();
      await assert.rejects(client.publish(name, new TextEncoder().encode("1")), { code: 107 });
      client.disconnect();
    }
  });
}

Deno.test("Names with half a surrogate pair are refused where text can have one", async () => {
  await using app = await startApp();
  const response = await fetch(`${app.url}/api/publish`, {
    method: "POST",
    body: '{"channel":"a\\ud83d","data":1}',
  });
  assert.equal((await response.json()).error.code, 107);
  await using socket = await TestSocket.open(`${app.socketUrl}/connection/websocket`);
  socket.send('{"id":1,"connect":{}}');
  await socket.next();
  socket.send('{"id":2,"subscribe":{"channel":"a\\ud83d"}}');
  const next = await Promise.race([socket.next(), socket.closed]);
  assert.match(typeof next === "string" ? next : JSON.stringify(next), /107|3501/);
});

Deno.test("Tokens name and grant channels in any normal form, and rules match them", async () => {
  const rules = [{ channels: "zoe\u0308/*", allow: ["publish"] }, { channels: "房间 *", allow: ["publish"] }];
  await using app = await startKeyedApp(rules);
  const publish = async (name: string, claims: Record<string, unknown>) => {
    const authorization = `Bearer ${await createToken({ sub: "ann", ...claims })}`;
    const response = await fetch(app.url + toPath(name), {
      method: "POST",
      body: "x",
      headers: { authorization },
    });
    await response.body?.cancel();
    return response.status;
  };
  const read = async (name: string, claims: Record<string, unknown>) => {
    const authorization = `Bearer ${await createToken({ sub: "ann", ...claims })}`;
    const response = await fetch(app.url + toPath(name), { headers: { authorization } });
    await response.body?.cancel();
    return response.status;
  };
  for (const form of ["NFC", "NFD"] as const) {
    const write = (name: string) => name.normalize(form);
    assert.equal(await publish(write("zoë/1"), {}), 200, "by a rule");
    assert.equal(await publish(write("房间 5"), {}), 200, "by a rule with a wildcard within a segment");
    assert.equal(await publish(write("zoé/1"), {}), 403);
    assert.equal(await read(write("café"), { channels: ["café"] }), 200);
    assert.equal(await read("café", { channels: [write("café")] }), 200);
    assert.equal(await read("café", { subs: { [write("café")]: {} } }), 200);
    assert.equal(await publish("my café/1", { grants: { [write("my café/*")]: ["publish"] } }), 200);
    assert.equal(await publish("my cafe/1", { grants: { [write("my café/*")]: ["publish"] } }), 403);
    // A token for one subscription.
    const client = new Centrifuge(`${app.socketUrl}/connection/websocket`, {
      token: await createToken({ sub: "ann" }),
    });
    const subscription = client.newSubscription("café", {
      token: await createToken({ sub: "ann", channel: write("café") }),
    });
    client.connect();
    subscription.subscribe();
    await subscription.ready();
    client.disconnect();
  }
});

Deno.test("Joins, leaves, presence and ends are told under the name by which a Centrifuge client knows the channel", async () => {
  await using app = await startApp();
  const name = "cafe\u0301";
  const client = openCentrifuge(app, false);
  const subscription = client.newSubscription(name, { joinLeave: true });
  const joined = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<number>();
  subscription.on("join", ({ info }) => info.client !== own && joined.resolve());
  subscription.on("leave", () => left.resolve());
  subscription.on("unsubscribed", ({ code }) => ended.resolve(code));
  let own = "";
  client.on("connected", (context) => own = context.client);
  client.connect();
  subscription.subscribe();
  await subscription.ready();
  const other = openCentrifuge(app, true);
  const theirs = other.newSubscription("café");
  other.connect();
  theirs.subscribe();
  await joined.promise;
  assert.equal(Object.keys((await subscription.presence()).clients).length, 2);
  assert.equal((await theirs.presenceStats()).numClients, 2);
  await publishByUrl(app, "café", "kept");
  assert.equal((await subscription.history({ limit: 10 })).publications[0]?.data, "kept");
  other.disconnect();
  await left.promise;
  const response = await fetch(`${app.url}/api/unsubscribe`, {
    method: "POST",
    body: JSON.stringify({ user: "", client: own, channel: name }),
  });
  assert.ok((await response.json()).result !== undefined);
  assert.ok(await ended.promise >= 2000);
  client.disconnect();
});

Deno.test("A Centrifuge client recovers a channel under its own spelling", async () => {
  await using app = await startApp();
  await publishByUrl(app, "café", "first");
  const document = await (await fetch(`${app.url}/caf%C3%A9`)).json();
  const client = openCentrifuge(app, false);
  const subscription = client.newSubscription("cafe\u0301", { since: { offset: 0, epoch: document.epoch } });
  const texts: string[] = [];
  const done = Promise.withResolvers<void>();
  subscription.on("publication", ({ data }) => texts.push(readText(data)) === 2 && done.resolve());
  client.connect();
  subscription.subscribe();
  await subscription.ready();
  await publishByUrl(app, "café", "second");
  await done.promise;
  assert.deepEqual(texts, ["first", "second"]);
  client.disconnect();
});

Deno.test("The API, the inspector, webhooks and the log name a channel in its normal form", async () => {
  await using receiver = new Receiver();
  await using app = await startApp(
    `RAINDROPS_WEBHOOK_URL=${receiver.url}`,
    `RAINDROPS_WEBHOOK_SECRET=${SECRET}`,
  );
  await using _reader = await TestSocket.open(`${app.socketUrl}/my%20cafe%CC%81?id=ann`);
  await publishByUrl(app, "my cafe\u0301", "x");
  await receiver.until(() => receiver.events.length === 1);
  assert.equal(receiver.events[0].channel, "my café");
  const ask = async (method: string, body: unknown) =>
    (await (await fetch(`${app.url}/api/${method}`, { method: "POST", body: JSON.stringify(body) })).json())
      .result;
  for (const channel of ["my café", "my cafe\u0301"]) {
    assert.equal((await ask("presence_stats", { channel })).num_clients, 1);
    assert.equal((await ask("history", { channel, limit: 10 })).publications.length, 1);
    assert.deepEqual(await ask("channels", { pattern: `${channel.slice(0, 6)}*` }), {
      channels: { "my café": { num_clients: 1 } },
    });
    const query = new URLSearchParams({ channel });
    const inspected = await (await fetch(`${app.url}/_inspect/channel?${query}`)).json();
    assert.equal(inspected.channel, "my café");
    assert.equal(inspected.subscribers, 1);
    const filter = new URLSearchParams({ filter: channel });
    const { rows } = await (await fetch(`${app.url}/_inspect/channels?${filter}`)).json();
    assert.deepEqual(rows.map(({ channel }: { channel: string }) => channel), ["my café"]);
  }
  assert.equal(app.logger.find("message received")[0]?.channel, "my café");
});

Deno.test("Lists and patterns read channels with spaces, and a list is not the channel of its names", async () => {
  await using app = await startRuledApp([]);
  await using list = await TestSocket.open(`${app.socketUrl}/my,room`);
  await using pattern = await TestSocket.open(`${app.socketUrl}/my%20room/*`);
  await using one = await TestSocket.open(`${app.socketUrl}/my%20room`);
  await publishByUrl(app, "my room", "to the channel");
  await publishByUrl(app, "my room/5", "below");
  await publishByUrl(app, "my", "to my");
  assert.equal(await one.next(), "to the channel");
  assert.equal(await pattern.next(), "below");
  assert.equal(await list.next(), "to my");
});
