/** What the tests of the Centrifuge protocol share: a server that checks tokens, tokens for it, and a raw client. */
import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { SignJWT } from "jose";
import { startApp, type TestApp } from "../../test_app.ts";
import { TestSocket } from "../../test_socket.ts";

const { publicKey, privateKey } = generateKeyPairSync("ec", {
  namedCurve: "P-256",
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
});

/** Starts an app that checks tokens made by {@linkcode createToken}. */
export async function startKeyedApp(
  rules: readonly unknown[] = [],
  ...flags: readonly string[]
): Promise<TestApp> {
  const folder = await Deno.makeTempDir();
  try {
    const keyFile = join(folder, "key.pem");
    await Deno.writeTextFile(keyFile, publicKey);
    return await startRuledApp(rules, "--token-key", keyFile, ...flags);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Starts an app with channel rules. */
export async function startRuledApp(
  rules: readonly unknown[],
  ...flags: readonly string[]
): Promise<TestApp> {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, JSON.stringify(rules));
    return await startApp("--rules", file, ...flags);
  } finally {
    await Deno.remove(file);
  }
}

/** A token as {@linkcode startKeyedApp} wants it. */
export async function createToken(claims: Record<string, unknown>): Promise<string> {
  return await new SignJWT(claims).setProtectedHeader({ alg: "ES256" }).sign(createPrivateKey(privateKey));
}

/** Seconds since 1970, some from now. */
export function secondsFromNow(seconds: number): number {
  return Math.floor(Date.now() / 1_000) + seconds;
}

/** Publishes over HTTP. */
export async function post(server: { readonly url: string }, path: string, body: string): Promise<void> {
  const response = await fetch(server.url + path, { method: "POST", body });
  await response.body?.cancel();
  assert(response.ok, `${response.status}`);
}

// deno-lint-ignore no-explicit-any -- replies are looked into by the tests that know what they asked for
export type RawReply = any;

/** A client that says what it is told and answers no pings. */
export class RawClient implements AsyncDisposable {
  readonly socket: TestSocket;
  readonly #replies: RawReply[] = [];
  #id = 0;

  private constructor(socket: TestSocket) {
    this.socket = socket;
  }

  static async open(
    server: TestApp,
    path = "/connection/websocket",
    options: WebSocketOptions = {},
  ): Promise<RawClient> {
    return new RawClient(await TestSocket.open(server.socketUrl + path, options));
  }

  /** Opens one and connects it. */
  static async connect(server: TestApp, request: unknown = {}): Promise<RawClient> {
    const client = await RawClient.open(server);
    const reply = await client.call("connect", request);
    assert(reply.connect !== undefined, JSON.stringify(reply));
    return client;
  }

  /** Sends commands as one frame. */
  send(...commands: readonly unknown[]): void {
    this.socket.send(commands.map((command) => JSON.stringify(command)).join("\n"));
  }

  /** Sends one command; resolves to the next reply, which must be its answer. */
  async call(kind: string, request: unknown = {}): Promise<RawReply> {
    const id = ++this.#id;
    this.send({ id, [kind]: request });
    const reply = await this.next();
    assert.equal(reply.id, id, JSON.stringify(reply));
    return reply;
  }

  /** The code of the error a command is answered with. */
  async fail(kind: string, request: unknown = {}): Promise<number | undefined> {
    return (await this.call(kind, request)).error?.code;
  }

  /** The replies of the next frame. */
  async frame(): Promise<RawReply[]> {
    assert.equal(this.#replies.length, 0, "A frame was read in part");
    const closed = this.socket.closed.then(({ code }) => {
      throw new Error(`The socket was closed with ${code}`);
    });
    const data = await Promise.race([this.socket.next(), closed]);
    return String(data).split("\n").map((line) => JSON.parse(line));
  }

  /** The next reply, whatever frame it is in. */
  async next(): Promise<RawReply> {
    if (this.#replies.length === 0) this.#replies.push(...await this.frame());
    return this.#replies.shift();
  }

  /** The replies that follow. */
  async take(count: number): Promise<RawReply[]> {
    const replies: RawReply[] = [];
    while (replies.length < count) replies.push(await this.next());
    return replies;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.socket[Symbol.asyncDispose]();
  }
}

/** Publishes where HTTP would ask for a token. */
export async function publish({ app }: TestApp, channel: string, ...texts: string[]): Promise<void> {
  await Promise.all(texts.map((text) => app.hub.publish({ channel, payload: { kind: "text", text } })));
}

/** A client with a token, on a server of {@linkcode startKeyedApp}. */
export async function keyed(
  server: TestApp,
  claims: Record<string, unknown> = { sub: "u1" },
): Promise<RawClient> {
  return await RawClient.connect(server, { token: await createToken(claims) });
}

/** The data of publications that were pushed. */
export function texts(replies: readonly RawReply[]): unknown[] {
  return replies.map(({ push }) => push.pub.data);
}

/** Posts a body and reads the lines of the answer. */
export async function readStream(server: TestApp, path: string, body: string) {
  const abort = new AbortController();
  const response = await fetch(server.url + path, { method: "POST", body, signal: abort.signal });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let buffered = "";
  return {
    response,
    /** The next lines that hold anything; fewer when the stream ends first. */
    async take(count: number): Promise<string[]> {
      const lines: string[] = [];
      while (lines.length < count) {
        const end = buffered.indexOf("\n");
        if (end >= 0) {
          if (end > 1) lines.push(buffered.slice(0, end));
          buffered = buffered.slice(end + 1);
          continue;
        }
        const { done, value } = await reader.read();
        if (done) break;
        buffered += value;
      }
      return lines;
    },
    async [Symbol.asyncDispose]() {
      abort.abort();
      await reader.cancel().catch(() => {});
    },
  };
}

/** Lets {@linkcode untilCounts} ask a server that checks tokens. */
export const OPERATED = "RAINDROPS_API_KEYS=a-key-of-sixteen-characters";
/** Far more than it takes until all threads of a server know of each other's clients, for busy machines. */
const COUNT_MILLISECONDS = 10_000;

/** Resolves when the server tells of so many clients and subscriptions, all its threads together. */
export async function untilCounts(
  { url }: TestApp,
  expected: { readonly clients?: number; readonly subscriptions?: number },
): Promise<void> {
  const headers = { "x-api-key": OPERATED.slice(OPERATED.indexOf("=") + 1) };
  const end = performance.now() + COUNT_MILLISECONDS;
  while (true) {
    const response = await fetch(`${url}/metrics`, { headers });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    const sum = (name: string) =>
      [...text.matchAll(new RegExp(`^${name}(?:{.*})? (\\d+)$`, "gm"))]
        .reduce((total, [, value]) => total + Number(value), 0);
    const clients = sum("raindrops_connections");
    const subscriptions = sum("raindrops_subscriptions");
    const found = { clients, subscriptions };
    const wanted = { ...found, ...expected };
    if (found.clients === wanted.clients && found.subscriptions === wanted.subscriptions) return;
    if (performance.now() > end) assert.deepEqual(found, wanted);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
