/** A target of Pusher's webhooks, which has the official library of applications' servers check each of them. */
import assert from "node:assert/strict";
import { openServerLibrary } from "./pusher_app.ts";

/** An event as webhooks tell it. */
export interface WebhookEvent {
  readonly name: string;
  readonly channel: string;
  readonly user_id?: string;
  readonly [key: string]: unknown;
}

export class WebhookReceiver implements AsyncDisposable {
  /** What was told in requests that were answered with 200, in order. */
  readonly events: WebhookEvent[] = [];
  /** Requests, whatever was answered. */
  requests = 0;
  /** The status of the answers. */
  status = 200;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #library = openServerLibrary({ port: 1 });
  #waiting: (() => void)[] = [];

  constructor() {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => this.#receive(request),
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/hook`;
  }

  /** The events of some names. */
  named(...names: readonly string[]): WebhookEvent[] {
    return this.events.filter(({ name }) => names.includes(name));
  }

  /** Resolves once a condition holds, which is looked at after each request. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #receive(request: Request): Promise<Response> {
    const rawBody = await request.text();
    const webhook = this.#library.webhook({ headers: Object.fromEntries(request.headers), rawBody });
    assert.ok(webhook.isValid(), "the official library does not accept the webhook");
    assert.ok(Math.abs(Date.now() - webhook.getTime().getTime()) < 60_000);
    this.requests++;
    const { status } = this;
    if (status === 200) this.events.push(...webhook.getEvents());
    for (const resolve of this.#waiting.splice(0)) resolve();
    return new Response(null, { status });
  }
}
