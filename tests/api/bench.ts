/** A hub on a memory log with the HTTP API in front of it, for the tests of the API. */
import assert from "node:assert/strict";
import { Gate } from "../../lib/auth/gate.ts";
import { ApiKeys } from "../../lib/auth/api_keys.ts";
import { selectChannel } from "../../lib/core/channel.ts";
import type { ServerSubscribeOptions } from "../../lib/core/client.ts";
import { Hub } from "../../lib/core/hub.ts";
import type { Draft } from "../../lib/core/message.ts";
import type { Tags } from "../../lib/core/tags.ts";
import type { Member } from "../../lib/core/presence.ts";
import { type RuleEntry, Rules } from "../../lib/core/rules.ts";
import { type ApiContext, handleApi, Versions } from "../../lib/api/api.ts";
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";
import { createClient, type FakeClient } from "../fakes/socket.ts";
import { NO_SCHEDULER } from "../fakes/scheduler.ts";

const RULES: readonly RuleEntry[] = [
  { channels: "secret", presence: false },
  { channels: "cursors", ephemeral: true },
  { channels: "short", history: { messages: 3 } },
];
export const KEY = "key-0123456789abcdef";

export type Answer = { readonly result?: unknown; readonly error?: { code: number; message: string } };

export interface Person extends Partial<Pick<Member, "id" | "user" | "info" | "name">> {
  readonly labels?: Tags;
  /** The channels it reads. */
  readonly channels?: readonly string[];
  /** Whether its protocol has no words for what the API asks. */
  readonly plain?: boolean;
  /** Subscribing fails with this; leaving first if told so. */
  readonly failure?: { readonly error: Error; readonly leaves: boolean };
}

/** What a bench has in place of the usual. */
export type BenchOptions = Partial<ApiContext> & { readonly keys?: ApiKeys };

/** A hub on a memory log, and the API in front of it. */
export class Bench {
  readonly logger = new RecordingLogger();
  readonly hub: Hub;
  readonly context: ApiContext;
  /** What clients were asked for, in order. */
  readonly asked: unknown[] = [];

  constructor({ keys = new ApiKeys([], { open: true }), ...rest }: BenchOptions = {}) {
    const rules = new Rules(RULES);
    this.hub = new Hub({
      log: new MemoryEngine({ rules }),
      rules,
      logger: this.logger,
      maxMessageBytes: 1_000,
      identity: { node: "node-1", name: "raindrops", version: "1.2.3", startedAt: Date.now() - 5_500 },
    });
    this.context = {
      hub: this.hub,
      gate: new Gate({ open: true, verifier: undefined, rules, logger: this.logger, apiKeys: keys }),
      publisher: "",
      versions: new Versions(),
      maxBodyBytes: 100_000,
      bodyTimeout: 10,
      logger: this.logger,
      scheduler: NO_SCHEDULER,
      ...rest,
    };
  }

  /** Sends a body as it is. */
  post(path: string, body: BodyInit, headers: Record<string, string> = {}): Promise<Response> {
    return handleApi(
      new Request(`http://localhost/api/${path}`, { method: "POST", body, headers }),
      this.context,
    );
  }

  /** Calls a method; the request may be JSON text, for what JavaScript would not write. */
  async call(method: string, request: object | string = {}): Promise<Answer> {
    const body = typeof request === "string" ? request : JSON.stringify(request);
    const response = await this.post(method, body);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/json");
    return await response.json();
  }

  /** Calls a method that succeeds. */
  async ask(method: string, request: object | string = {}): Promise<unknown> {
    const { result, error } = await this.call(method, request);
    assert.equal(error, undefined);
    return result;
  }

  async assertRefused(
    method: string,
    request: object | string,
    code: number,
    message: RegExp,
  ): Promise<void> {
    const answer = await this.call(method, request);
    assert.equal(answer.result, undefined, `${method} ${JSON.stringify(request)} is refused`);
    assert.equal(answer.error?.code, code, answer.error?.message ?? "");
    assert.match(answer.error?.message ?? "", message);
  }

  /** The texts of what is stored. */
  async read(channel = "news"): Promise<readonly string[]> {
    const page = await this.hub.read({
      selector: selectChannel(channel),
      after: { kind: "earliest" },
      limit: 1_000,
    });
    return page.messages.map(({ payload }) =>
      payload.kind === "bytes" ? `bytes ${payload.bytes}` : `${payload.kind} ${payload.text}`
    );
  }

  async publish(...drafts: Draft[]): Promise<void> {
    for (const draft of drafts) await this.hub.publish(draft);
  }

  connect(person: Person): FakeClient {
    const { channels = [], plain = false, failure, ...member } = person;
    const fake = createClient({ onEnd: () => this.hub.disconnect(client) });
    const note = (...words: unknown[]) => void this.asked.push([client.id, ...words]);
    const control = {
      disconnect: (code: number, reason: string) => {
        note("disconnect", code, reason);
        this.hub.disconnect(client);
      },
      subscribe: async (channel: string, options: ServerSubscribeOptions) => {
        await Promise.resolve();
        if (failure?.leaves) this.hub.disconnect(client);
        if (failure !== undefined) throw failure.error;
        note("subscribe", channel, options);
        return true;
      },
      unsubscribe: (channel: string, code: number, reason: string) => {
        note("unsubscribe", channel, code, reason);
        return true;
      },
      refresh: (expires: number, ...info: string[]) => note("refresh", expires, ...info),
    };
    const client: FakeClient = { ...fake, ...member, ...(plain ? {} : { control }) };
    this.hub.connect(client);
    for (const channel of channels) this.hub.subscribe(client, selectChannel(channel));
    return client;
  }
}

export function withBench(
  name: string,
  test: (bench: Bench) => Promise<void>,
  rest: BenchOptions = {},
): void {
  Deno.test(name, () => test(new Bench(rest)));
}

/** Two connections of one user, one of another, one of nobody. */
export function connectPeople(bench: Bench): void {
  bench.connect({ id: "u1", user: "u" });
  bench.connect({ id: "u2", user: "u", labels: new Map([["plan", "pro"]]) });
  bench.connect({ id: "v1", user: "v", labels: new Map([["plan", "pro"], ["os", "x"]]) });
  bench.connect({ id: "n1" });
}
