/** How the lane of a webhook gathers messages into requests. */
import assert from "node:assert/strict";
import { selectPatterns } from "../../lib/core/channel.ts";
import type { Log } from "../../lib/core/log.ts";
import { MemoryState } from "../../lib/core/memory_state.ts";
import type { Message } from "../../lib/core/message.ts";
import { WebhookControl } from "../../lib/hooks/control.ts";
import { MessageLane } from "../../lib/hooks/message_lane.ts";
import type { Delivery } from "../../lib/hooks/target.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";

const EPOCH = "e";
/** The shortest time between requests that are not full, in milliseconds. */
const GATHERING = 100;

interface Taken extends Pick<Delivery, "count"> {
  /** When it was sent, by `performance.now()`. */
  readonly at: number;
}

/** A lane that leads, and a target that takes everything at once. */
class Lane implements AsyncDisposable {
  readonly taken: Taken[] = [];
  readonly #stop = new AbortController();
  readonly #lane: MessageLane;
  readonly #run: Promise<void>;
  readonly #published: Message[] = [];
  #onTaken = () => {};

  constructor() {
    const state = new MemoryState();
    const { signal } = this.#stop;
    const published = this.#published;
    const log: Pick<Log, "read" | "top"> = {
      get top() {
        return { epoch: EPOCH, sequence: published.length };
      },
      read: ({ after }) =>
        Promise.resolve({
          kind: "complete",
          messages: published.slice(after.kind === "id" ? after.sequence : 0),
          position: { epoch: EPOCH, offset: 0 },
          next: { kind: "id", epoch: EPOCH, sequence: published.length },
          more: false,
        }),
    };
    this.#lane = new MessageLane({
      ...{ key: "lane", selector: selectPatterns(["**"]), log, state, logger: new RecordingLogger(), signal },
      target: { deliver: (delivery) => this.#take(delivery) },
      control: new WebhookControl({ key: "lane", state, signal }),
      leads: () => true,
      untilLeading: () => Promise.resolve(),
    });
    this.#run = this.#lane.run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#run;
  }

  get started(): Promise<void> {
    return this.#lane.started;
  }

  publish(count: number, text: string): void {
    const first = this.#published.length + 1;
    const messages = Array.from({ length: count }, (_, i): Message => ({
      ...{ channel: "a", payload: { kind: "text", text }, epoch: EPOCH, time: 0 },
      ...{ sequence: first + i, offset: first + i },
      ...{ event: undefined, from: undefined, socketId: undefined, to: undefined },
    }));
    this.#published.push(...messages);
    this.#lane.notice(messages);
  }

  /** Resolves once the target has taken so many requests. */
  async until(requests: number): Promise<void> {
    while (this.taken.length < requests) {
      await new Promise<void>((resolve) => this.#onTaken = resolve);
    }
  }

  #take({ count }: Delivery): Promise<boolean> {
    this.taken.push({ count, at: performance.now() });
    this.#onTaken();
    return Promise.resolve(true);
  }
}

Deno.test("What a full request leaves over waits for more messages: a request costs as much as many of them", async () => {
  await using lane = new Lane();
  await lane.started;
  lane.publish(1, "");
  await lane.until(1);
  lane.publish(510, "x".repeat(100));
  await lane.until(3);
  const [, full, rest] = lane.taken;
  assert.ok(full!.count > 400 && full!.count < 500, `${full!.count} messages fill the bytes of a request`);
  assert.equal(rest!.count, 510 - full!.count);
  assert.ok(rest!.at - full!.at > GATHERING * 0.9, `the rest comes after ${rest!.at - full!.at} ms`);
});
