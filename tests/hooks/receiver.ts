/** A target of webhooks on a port of its own, which checks signatures and answers as the test says. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";

export const SECRET_BYTES = "0123456789abcdef0123456789abcdef";
export const SECRET = `whsec_${btoa(SECRET_BYTES)}`;

export interface Received {
  readonly id: string;
  readonly timestamp: number;
  readonly headers: Headers;
  // deno-lint-ignore no-explicit-any -- tests look into what they sent
  readonly events: readonly any[];
}

export type Answer = (request: Received) => Response | Promise<Response>;

export class Receiver implements AsyncDisposable {
  /** Every request with a good signature, whatever was answered. */
  readonly requests: Received[] = [];
  /** Those answered with 2xx, without repeats of an id. */
  readonly taken: Received[] = [];
  answer: Answer = () => new Response(null, { status: 204 });
  /** The newest offset taken on each channel. */
  readonly newest = new Map<string, number>();
  readonly #ids = new Set<string>();
  #server: Deno.HttpServer<Deno.NetAddr>;
  readonly port: number;
  #waiting: (() => void)[] = [];

  constructor() {
    this.#server = this.#serve(0);
    this.port = this.#server.addr.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  /** Every event taken, in order, without repeats of an id. */
  // deno-lint-ignore no-explicit-any -- tests look into what they sent
  get events(): readonly any[] {
    return this.taken.flatMap(({ events }) => events);
  }

  /** The data of the messages taken on a channel. */
  texts(channel?: string): unknown[] {
    return this.events.filter((event) =>
      event.type === "message" && (channel === undefined || event.channel === channel)
    ).map(({ data }) => data);
  }

  /** Resolves once a condition holds, which is looked at after each request. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Goes away, so that connections are refused. */
  async stop(): Promise<void> {
    await this.#server.shutdown();
  }

  /** Comes back on the same port. */
  start(): void {
    this.#server = this.#serve(this.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  #serve(port: number): Deno.HttpServer<Deno.NetAddr> {
    return Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, (request) => this.#receive(request));
  }

  async #receive(request: Request): Promise<Response> {
    const body = await request.text();
    const { headers } = request;
    const id = headers.get("webhook-id") ?? "";
    const timestamp = headers.get("webhook-timestamp") ?? "";
    const hmac = createHmac("sha256", SECRET_BYTES).update(`${id}.${timestamp}.${body}`).digest("base64");
    assert.equal(headers.get("webhook-signature"), `v1,${hmac}`);
    assert.ok(Math.abs(Date.now() / 1_000 - Number(timestamp)) < 60);
    const parsed = JSON.parse(body);
    const received = { id, timestamp: Number(timestamp), headers, events: parsed.events ?? [parsed] };
    this.requests.push(received);
    const response = await this.answer(received);
    if (response.ok && !this.#ids.has(id)) {
      this.#ids.add(id);
      this.taken.push(received);
      for (const { type, channel, offset } of received.events) {
        if (type === "message") this.newest.set(channel, offset);
      }
    }
    for (const resolve of this.#waiting.splice(0)) resolve();
    return response;
  }
}

/** Writes a `--hooks` file. */
export async function writeHooks(hooks: unknown): Promise<string> {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(path, JSON.stringify(hooks));
  return path;
}

/** Asserts that each channel's messages arrived in order, from 1 without holes; returns their number. */
// deno-lint-ignore no-explicit-any -- tests look into what they sent
export function assertOrder(events: readonly any[], last: ReadonlyMap<string, number>): void {
  const offsets = new Map<string, number>();
  for (const { type, channel, offset } of events) {
    if (type !== "message") continue;
    assert.equal(offset, (offsets.get(channel) ?? 0) + 1, `the next message of ${channel}`);
    offsets.set(channel, offset);
  }
  for (const [channel, offset] of last) assert.ok((offsets.get(channel) ?? 0) >= offset, `all of ${channel}`);
}
