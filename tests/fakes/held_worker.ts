/** For tests of what a thread does about things that it has not heard yet. */
import type { Selector } from "../../lib/core/channel.ts";
import { Hub } from "../../lib/core/hub.ts";
import type { Draft } from "../../lib/core/message.ts";
import { Rules } from "../../lib/core/rules.ts";
import type { SubscribeOptions } from "../../lib/core/subscription.ts";
import { openWorkerEngine, type WorkerEngine } from "../../lib/engines/worker/engine.ts";
import { EngineHost } from "../../lib/engines/worker/host.ts";
import type { TellBatch } from "../../lib/engines/worker/wire.ts";
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";
import { createDraft } from "./message.ts";
import { RecordingLogger } from "./recording_logger.ts";
import { createClient, type FakeClient } from "./socket.ts";

const RULES = new Rules([{ channels: "**", history: { messages: 100_000 } }]);

/** A hub of a worker thread that hears what its engine says when it is let hear it. */
export class HeldWorker implements AsyncDisposable {
  readonly host: EngineHost;
  readonly hub: Hub;
  readonly #log: WorkerEngine;
  readonly #ports: readonly MessagePort[];
  readonly #deliver: (batch: TellBatch) => void;
  #held: TellBatch[] | undefined;

  private constructor(host: EngineHost, log: WorkerEngine, ports: readonly MessagePort[]) {
    this.host = host;
    this.#log = log;
    this.#ports = ports;
    const [outer, inner] = ports as [MessagePort, MessagePort];
    this.#deliver = (batch) => inner.postMessage(batch);
    outer.onmessage = ({ data }: MessageEvent<TellBatch>) =>
      this.#held === undefined ? this.#deliver(data) : this.#held.push(data);
    this.hub = new Hub({ log, rules: RULES, logger: new RecordingLogger(), maxMessageBytes: 1_000 });
  }

  static async open(): Promise<HeldWorker> {
    const host = new EngineHost({ log: new MemoryEngine({ rules: RULES }) });
    const [outer, inner] = [new MessageChannel(), new MessageChannel()];
    host.attach(outer.port1);
    outer.port2.onmessage = ({ data }) => inner.port1.postMessage(data);
    inner.port1.onmessage = ({ data }) => outer.port2.postMessage(data);
    const log = await openWorkerEngine(inner.port2);
    return new HeldWorker(host, log, [outer.port2, inner.port1]);
  }

  subscribe(selector: Selector, options: SubscribeOptions = {}): FakeClient {
    const client = createClient();
    this.hub.connect(client);
    this.hub.subscribe(client, selector, options);
    return client;
  }

  async store(text: string, fields: Partial<Draft> = {}): Promise<void> {
    await this.host.log.append(createDraft(text, fields));
  }

  /** Resolves when all that was said has been heard; from then on the rest is held back. */
  async hold(): Promise<void> {
    await this.#log.state.read("nothing");
    this.#held = [];
  }

  /** Resolves when all that was held back has been heard. */
  async release(): Promise<void> {
    for (const batch of this.#held ?? []) this.#deliver(batch);
    this.#held = undefined;
    await this.#log.state.read("nothing");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#log[Symbol.asyncDispose]();
    for (const port of this.#ports) port.close();
    await this.host[Symbol.asyncDispose]();
  }
}
