/** Nodes that keep wills in one state, which can be out of reach. */
import { MessagingError } from "../../../lib/core/errors.ts";
import { MemoryState } from "../../../lib/core/memory_state.ts";
import type { Draft } from "../../../lib/core/message.ts";
import { type Will, Wills } from "../../../lib/protocols/mqtt/wills.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";

/** A state that can be out of reach, before it does something or before it answers. */
export class OutageState extends MemoryState {
  outage: "before" | "after" | undefined;
  /** Happens once, before something is removed. */
  beforeDelete: (() => Promise<void>) | undefined;

  override read(key: string) {
    return this.#pass(() => super.read(key));
  }

  override write(key: string, value: string, revision: number) {
    return this.#pass(() => super.write(key, value, revision));
  }

  override async delete(key: string, revision: number) {
    const { beforeDelete } = this;
    this.beforeDelete = undefined;
    await beforeDelete?.();
    return await this.#pass(() => super.delete(key, revision));
  }

  async #pass<T>(act: () => Promise<T>): Promise<T> {
    const answer = this.outage === "before" ? undefined : await act();
    if (this.outage !== undefined) throw new MessagingError("log_unavailable", "down");
    return answer as T;
  }
}

/** Nodes on one state, with what they publish. */
export class Bench {
  readonly state = new OutageState();
  readonly published: Draft[] = [];
  readonly alive = new Set<string>();
  fails = false;
  tries = 0;
  #wake = () => {};
  #tried = Promise.withResolvers<void>();

  open(node: string): Wills {
    this.alive.add(node);
    return new Wills({
      state: this.state,
      logger: new RecordingLogger(),
      node,
      isAlive: (other) => this.alive.has(other),
      publish: (draft) => {
        this.tries++;
        this.#tried.resolve();
        this.#tried = Promise.withResolvers();
        if (this.fails) return Promise.reject(new MessagingError("log_unavailable", "down"));
        this.published.push(draft);
        this.#wake();
        return Promise.resolve();
      },
    });
  }

  async nextPublished(): Promise<void> {
    if (this.published.length === 0) await new Promise<void>((resolve) => this.#wake = resolve);
  }

  /** Resolves when the next will is to be published, whether that fails or not. */
  nextTried(): Promise<void> {
    return this.#tried.promise;
  }

  async countKept(): Promise<number> {
    return (await Array.fromAsync(this.state.list("mqtt-will-"))).length;
  }
}

/**
 * A will for `gone` with a payload that is no text.
 *
 * @param delay seconds
 */
export function createWill(delay = 0): Will {
  const payload = { kind: "bytes" as const, bytes: new Uint8Array([1, 255]) };
  return { draft: { channel: "gone", payload, idempotencyKey: "key" }, delay };
}
