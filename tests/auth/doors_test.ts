/** Every action, every way to be let in, every door: one answer. */
import assert from "node:assert/strict";
import { RawSocket } from "../raw_socket.ts";
import { createToken, RawClient, startKeyedApp } from "../protocols/centrifuge/app.ts";
import { startApp, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";

const KEY = "key-0123456789abcdef";
const ALL = ["subscribe", "publish", "presence", "history"] as const;

/** What channels of each first segment allow. Unless told otherwise, subscribers may read the history. */
const RULES = {
  none: {},
  subscribers: { allowSubscribers: ALL },
  users: { allow: ["subscribe"] },
  "users-and-subscribers": { allow: ["subscribe"], allowSubscribers: ALL },
  anybody: { allowAnonymous: ["subscribe"] },
  "anybody-and-subscribers": { allowAnonymous: ["subscribe"], allowSubscribers: ALL },
  writers: { allow: ["publish"] },
} as const;

type Rule = keyof typeof RULES;

/** Who asks: the claims of its connection token, or an API key. */
interface Way {
  readonly claims?: (channel: string) => Record<string, unknown>;
  readonly key?: true;
  /** Subscribes with a token for the channel. */
  readonly hasSubscriptionToken?: true;
  /** What it may do on channels of each rule, by first letters: Subscribe, Publish, pResence, History, Clear. */
  readonly may: Readonly<Record<Rule, string>>;
}

/** What is allowed everywhere alike. */
function everywhere(letters: string): Readonly<Record<Rule, string>> {
  return Object.fromEntries(Object.keys(RULES).map((rule) => [rule, letters])) as Record<Rule, string>;
}

/** What a user without grants may do. */
const USER = {
  none: "",
  subscribers: "",
  users: "sh",
  "users-and-subscribers": "sprh",
  anybody: "sh",
  "anybody-and-subscribers": "sprh",
  writers: "p",
} as const;

/** A grant adds what it lists, and nothing else. */
function userAnd(letter: string): Readonly<Record<Rule, string>> {
  return Object.fromEntries(Object.entries(USER).map(([rule, may]) => [rule, may + letter])) as Record<
    Rule,
    string
  >;
}

/** A token that names the channel makes a subscriber. */
const NAMED = {
  none: "sh",
  subscribers: "sprh",
  users: "sh",
  "users-and-subscribers": "sprh",
  anybody: "sh",
  "anybody-and-subscribers": "sprh",
  writers: "sh",
} as const;

const grant = (...actions: readonly string[]) => ({ grants: { "**": actions } });

const WAYS: Readonly<Record<string, Way>> = {
  "nobody": { may: { ...everywhere(""), anybody: "s", "anybody-and-subscribers": "s" } },
  "a user": { claims: () => ({ sub: "ann" }), may: USER },
  "a user with a grant to subscribe": {
    claims: () => ({ sub: "ann", ...grant("subscribe") }),
    may: userAnd("s"),
  },
  "a user with a grant to publish": {
    claims: () => ({ sub: "ann", ...grant("publish") }),
    may: userAnd("p"),
  },
  "a user with a grant of presence": {
    claims: () => ({ sub: "ann", ...grant("presence") }),
    may: userAnd("r"),
  },
  "a user with a grant of history": {
    claims: () => ({ sub: "ann", ...grant("history") }),
    may: userAnd("h"),
  },
  "a grant to subscribe without a user": { claims: () => grant("subscribe"), may: everywhere("s") },
  "a grant of everything": { claims: () => grant(...ALL), may: everywhere("sprh") },
  "a user whose token names the channel": {
    claims: (channel) => ({ sub: "ann", channels: [channel] }),
    may: { ...NAMED, writers: "sph" },
  },
  "a user whose token subscribes it": {
    claims: (channel) => ({ sub: "ann", subs: { [channel]: {} } }),
    may: { ...NAMED, writers: "sph" },
  },
  "a token that names the channel and nobody": { claims: (channel) => ({ channels: [channel] }), may: NAMED },
  "a user with a subscription token": {
    claims: () => ({ sub: "ann" }),
    hasSubscriptionToken: true,
    may: { ...NAMED, writers: "sph" },
  },
  "an API key": { key: true, may: everywhere("sprhc") },
};

const LETTERS = { s: "subscribe", p: "publish", r: "presence", h: "history", c: "clear" } as const;

interface Visitor {
  readonly server: TestApp;
  readonly channel: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly token: string | undefined;
}

/** Asks by HTTP; tells whether it was allowed, and hangs up. */
async function ask(
  { server, channel, headers }: Visitor,
  query: string,
  init: RequestInit = {},
): Promise<boolean> {
  const abort = new AbortController();
  const response = await fetch(`${server.url}/${channel}${query}`, {
    ...init,
    headers: { accept: "application/json", ...headers, ...init.headers as Record<string, string> },
    signal: abort.signal,
  });
  abort.abort();
  assert.ok([200, 401, 403].includes(response.status), `${channel}${query}: ${response.status}`);
  return response.status === 200;
}

const EVENTS = { headers: { accept: "text/event-stream" } };

/** Whether a plain WebSocket is let in, and whether it may send. */
async function openPlain({ server, channel, headers }: Visitor, send: boolean): Promise<boolean> {
  const socket = await TestSocket.open(`${server.socketUrl}/${channel}`, { headers }).catch(() => undefined);
  if (socket === undefined) return false;
  await using opened = socket;
  if (!send) return true;
  opened.send("it rains");
  opened.send("/time");
  // The answer to the second, or the end for the first.
  return await Promise.race([opened.next().then(() => true), opened.closed.then(() => false)]);
}

/** Whether a one-way client gets the subscription that it asks for. */
async function openOneWay({ server, channel, token = "" }: Visitor): Promise<boolean> {
  const connect = encodeURIComponent(JSON.stringify({ token, subs: { [channel]: {} } }));
  using stream = await RawSocket.open(server.port);
  await stream.write(`GET /connection/uni_sse?cf_connect=${connect} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  const text = await stream.readUntil("}\n");
  return text.includes('"connect"') && text.includes(`"${channel}"`);
}

type Doors = Readonly<Record<string, (visitor: Visitor) => Promise<boolean>>>;

/** The doors for each action by URL. */
const URL_DOORS: Readonly<Record<keyof typeof LETTERS, Doors>> = {
  s: {
    "an event stream": (visitor) => ask(visitor, "", EVENTS),
    "a line stream": (visitor) => ask(visitor, "?follow"),
    "HEAD of a stream": (visitor) => ask(visitor, "", { ...EVENTS, method: "HEAD" }),
    "a plain WebSocket": (visitor) => openPlain(visitor, false),
  },
  p: {
    "POST": (visitor) => ask(visitor, "", { method: "POST", body: "hi" }),
    "PUT": (visitor) => ask(visitor, "", { method: "PUT", body: "hi" }),
  },
  r: { "a document of presence": (visitor) => ask(visitor, "?presence") },
  h: {
    "a document": (visitor) => ask(visitor, ""),
    "a document since": (visitor) => ask(visitor, "?since=earliest"),
    "HEAD of a document": (visitor) => ask(visitor, "", { method: "HEAD" }),
  },
  c: { "DELETE": (visitor) => ask(visitor, "", { method: "DELETE" }) },
};

/** Doors that need two actions. */
const JOINT_DOORS: Readonly<
  Record<string, readonly [letters: string, door: (visitor: Visitor) => Promise<boolean>]>
> = {
  "an event stream since": ["sh", (visitor) => ask(visitor, "?since=earliest", EVENTS)],
  "a line stream since": ["sh", (visitor) => ask(visitor, "?follow&since=earliest")],
  "a message on a plain WebSocket": ["sp", (visitor) => openPlain(visitor, true)],
};

let commands = 1_000;

/** The code of the error that a command is answered with, whatever is pushed before. */
async function command(client: RawClient, kind: string, request: unknown): Promise<number | undefined> {
  const id = commands++;
  client.send({ id, [kind]: request });
  for (;;) {
    const reply = await client.next();
    if (reply.id === id) return reply.error?.code;
  }
}

/** The commands for each action over Centrifuge. */
const COMMANDS: readonly [letter: string, kind: string, request: Record<string, unknown>][] = [
  ["p", "publish", { data: 1 }],
  ["r", "presence", {}],
  ["r", "presence_stats", {}],
  ["h", "history", { limit: 1 }],
];

for (const [who, { claims, key, hasSubscriptionToken = false, may }] of Object.entries(WAYS)) {
  Deno.test(`What ${who} may do on a channel is the same at every door`, async () => {
    const rules = Object.entries(RULES).map(([rule, settings]) => ({ channels: `${rule}/**`, ...settings }));
    await using server = await startKeyedApp(rules, `RAINDROPS_API_KEYS=${KEY}`);
    for (const rule of Object.keys(RULES) as Rule[]) {
      const channel = `${rule}/room`;
      const token = claims === undefined ? undefined : await createToken(claims(channel));
      const authorization = token === undefined ? undefined : { authorization: `Bearer ${token}` };
      const headers = key ? { "x-api-key": KEY } : authorization ?? {};
      const visitor: Visitor = { server, channel, headers, token };
      const expect = (letters: string, door: string, allowed: boolean) =>
        assert.equal(
          allowed,
          [...letters].every((letter) => may[rule].includes(letter)),
          `${channel} by ${door}`,
        );

      const api = await fetch(`${server.url}/api/info`, { method: "POST", body: "{}", headers });
      await api.body?.cancel();
      assert.equal(api.status, key ? 200 : 401);
      // A subscription token is of the Centrifuge protocol alone.
      if (!hasSubscriptionToken) {
        for (const [letter, doors] of Object.entries(URL_DOORS)) {
          for (const [door, knock] of Object.entries(doors)) expect(letter, door, await knock(visitor));
        }
        for (const [door, [letters, knock]] of Object.entries(JOINT_DOORS)) {
          expect(letters, door, await knock(visitor));
        }
        if (!key) expect("s", "a one-way stream", await openOneWay(visitor));
      }
      if (key) continue;

      await using client = await RawClient.connect(server, token === undefined ? {} : { token });
      const run = async (when: string) => {
        for (const [letter, kind, request] of COMMANDS) {
          const error = await command(client, kind, { channel, ...request });
          assert.ok(error === undefined || error === 103, `${kind}: ${error}`);
          expect(letter, `${kind} ${when}`, error === undefined);
        }
      };
      if (!hasSubscriptionToken) await run("before it subscribes");
      const subscription = hasSubscriptionToken ? { token: await createToken({ sub: "ann", channel }) } : {};
      const error = await command(client, "subscribe", { channel, ...subscription });
      // Who is subscribed already, by its token, is told so.
      expect("s", "subscribe", error === undefined || error === 105);
      if (may[rule].includes("s")) await run("once subscribed");
    }
  });
}

Deno.test("On an open server everybody may do everything at every door, and operate it on loopback alone", async () => {
  for (const flags of [[], ["--open", "--trusted-proxy", "127.0.0.1"]]) {
    await using server = await startApp(...flags);
    const visitor: Visitor = { server, channel: "room", headers: {}, token: undefined };
    const isLocal = flags.length === 0;
    for (const [letter, doors] of Object.entries(URL_DOORS)) {
      for (const [door, knock] of Object.entries(doors)) {
        assert.equal(await knock(visitor), letter !== "c" || isLocal, door);
      }
    }
    for (const [door, [, knock]] of Object.entries(JOINT_DOORS)) assert.ok(await knock(visitor), door);
    assert.ok(await openOneWay(visitor));
    await using client = await RawClient.connect(server);
    for (const [, kind, request] of COMMANDS) {
      assert.equal(await command(client, kind, { channel: "room", ...request }), undefined, kind);
    }
    const api = await fetch(`${server.url}/api/info`, { method: "POST", body: "{}" });
    await api.body?.cancel();
    assert.equal(api.status, isLocal ? 200 : 401);
  }
});
