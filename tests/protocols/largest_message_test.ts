/**
 * The largest message: what has `--max-message-bytes` can be published in every way there is, however a protocol writes
 * it, and of what has one byte more the publisher hears, in words of the protocol, for that message alone.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { APP, OfficialClient, openServerLibrary } from "./pusher/pusher_app.ts";
import { TestSocket } from "../test_socket.ts";
import { connect, type MqttApp, startMqtt } from "./mqtt/app.ts";
import { Clients } from "../suites/centrifuge_clients.ts";
import { VARIANTS } from "./centrifuge/variants.ts";

const UTF8 = new TextEncoder();

/** What a publisher hears: undefined where its message was published. */
type Publish = (text: string) => Promise<unknown>;

/** A way to publish. */
interface Way {
  readonly name: string;
  /** What a publisher hears of a message that is too large. */
  readonly refusal: RegExp;
  /** Whether the same publisher goes on afterwards; else the connection ends, as the protocol has no other answer. */
  readonly goesOn: boolean;
  /** Texts of which it does not carry all; any if left out. */
  readonly carries?: (text: string) => boolean;
  open(app: MqttApp, stack: AsyncDisposableStack): Promise<Publish>;
}

/** A way over HTTP, by what it sends. */
function post(
  name: string,
  path: string,
  type: string,
  write: (text: string) => BodyInit,
  carries?: Way["carries"],
): Way {
  return {
    name,
    refusal: /too_large|--max-message-bytes/,
    goesOn: true,
    ...(carries === undefined ? {} : { carries }),
    open: ({ url }) =>
      Promise.resolve(async (text) => {
        const headers = { "content-type": type };
        const answer = await (await fetch(url + path, { method: "POST", headers, body: write(text) })).text();
        return /"error"|"type":/.test(answer) ? answer : undefined;
      }),
  };
}

const JSON_TYPE = "application/json";

const overHttp: readonly Way[] = [
  post("POST of text", "/big", "text/plain", (text) => text),
  post("POST of bytes", "/big", "application/octet-stream", (text) => UTF8.encode(text)),
  post("POST of JSON", "/big", JSON_TYPE, (text) => JSON.stringify({ data: text })),
  post(
    "POST of a form",
    "/big",
    "application/x-www-form-urlencoded",
    (text) => new URLSearchParams({ data: text }).toString(),
  ),
  post(
    "the API's publish",
    "/api/publish",
    JSON_TYPE,
    (data) => JSON.stringify({ channel: "big", data }),
  ),
  post(
    "the API's broadcast",
    "/api/broadcast",
    JSON_TYPE,
    (data) => JSON.stringify({ channels: ["big"], data }),
  ),
];

const overSockets: readonly Way[] = ["text", "bytes"].map((kind) => ({
  name: `a plain WebSocket's ${kind}`,
  refusal: /1009.*the limit is/,
  goesOn: false,
  async open({ socketUrl }, stack) {
    const reader = stack.use(await TestSocket.open(`${socketUrl}/big`));
    const socket = stack.use(await TestSocket.open(`${socketUrl}/big`));
    return async (text) => {
      socket.send(kind === "text" ? text : UTF8.encode(text));
      return await Promise.race([
        reader.next().then(() => undefined),
        socket.closed.then(({ code, reason }) => `${code} ${reason}`),
      ]);
    };
  },
}));

const byCentrifuge: readonly Way[] = VARIANTS.map((variant) => ({
  name: `a Centrifuge client over ${variant.name}`,
  refusal: /"code":106/,
  goesOn: true,
  async open({ url }, stack) {
    const client = await stack.use(new Clients(variant, { url })).connect();
    return (text) =>
      client.publish("big", variant.encode(text)).then(
        () => undefined,
        (error) => JSON.stringify(error),
      );
  },
}));

const byMqtt: readonly Way[] = (["tcp", "ws"] as const).map((door) => ({
  name: `MQTT over ${door}`,
  refusal: /151|too large|quota|bytes/i,
  goesOn: true,
  async open(app, stack) {
    const { client } = stack.use(await connect(app, { door, protocolVersion: 5 }));
    return (text) =>
      client.publishAsync("big", Buffer.from(text), { qos: 1 }).then(
        () => undefined,
        (error) => `${error.code} ${error.message}`,
      );
  },
}));

const byPusher: readonly Way[] = [{
  name: "a Pusher client's event",
  refusal: /4301.*larger|4301.*limit/,
  goesOn: true,
  async open(app, stack) {
    const [mine, other] = [stack.use(new OfficialClient(app)), stack.use(new OfficialClient(app))];
    const channel = await mine.subscribe("private-big");
    const theirs = await other.subscribe("private-big");
    return async (text) => {
      const refused = new Promise<unknown>((resolve) =>
        mine.pusher.connection.bind("error", (error: unknown) => resolve(JSON.stringify(error)))
      );
      const arrived = other.next(theirs, "client-big").then(() => undefined);
      channel.trigger("client-big", text);
      return await Promise.race([refused, arrived]);
    };
  },
}, {
  name: "a Pusher trigger",
  refusal: /413/,
  goesOn: true,
  open: (app) =>
    Promise.resolve((text) =>
      openServerLibrary(app).trigger("private-big", "big", text).then(
        () => undefined,
        (error: { readonly status: number }) => String(error.status),
      )
    ),
}];

const WAYS = [...overHttp, ...overSockets, ...byCentrifuge, ...byMqtt, ...byPusher];

/** A text of so many bytes of UTF-8, of one character as far as it goes. */
function fill(character: string, bytes: number): string {
  const size = UTF8.encode(character).length;
  return character.repeat(Math.floor(bytes / size)) + "x".repeat(bytes % size);
}

const CHARACTERS = {
  letters: "a",
  quotes: '"',
  newlines: "\n",
  "control characters": "\u0001",
  umlauts: "ä",
  drops: "🌧",
};

/** The limit at its default, and raised with that of bodies, which bounds a message in JSON. */
const LIMITS: readonly [number, readonly string[]][] = [
  [65_536, []],
  [200_000, ["--max-message-bytes", "200000", "--max-body-bytes", "4194304"]],
];

for (const [limit, flags] of LIMITS) {
  for (const way of WAYS) {
    Deno.test(`${way.name} publishes a message of ${limit} bytes, and not one of a byte more`, async () => {
      const apps = await Deno.makeTempFile();
      await Deno.writeTextFile(apps, JSON.stringify([{ ...APP, maxEventBytes: limit }]));
      await using app = await startMqtt("--pusher-apps", apps, ...flags);
      await Deno.remove(apps);
      await using stack = new AsyncDisposableStack();
      let publish = await way.open(app, stack);
      for (const [name, character] of Object.entries(CHARACTERS)) {
        assert.equal(await publish(fill(character, limit)), undefined, name);
        const heard = await publish(fill(character, limit + 1));
        assert.match(String(heard), way.refusal, name);
        // The next character shows that the same publisher goes on.
        if (!way.goesOn) publish = await way.open(app, stack);
      }
    });
  }
}
