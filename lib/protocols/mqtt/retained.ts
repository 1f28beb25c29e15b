/**
 * The retained message of each channel, on every node: taken from what the hub delivers, kept by the engine whatever the
 * channel's history rule. The protocol owns one; subscriptions read it.
 */
import { createHash } from "node:crypto";
import { matchesSelector, type Selector } from "../../core/channel.ts";
import type { LogState } from "../../core/log.ts";
import type { Logger } from "../../core/logger.ts";
import { type Message, type Payload, payloadSize } from "../../core/message.ts";
import { secondsLeft } from "./properties.ts";
import { isHidden } from "./topics.ts";

/** Entries of the engine's state that the retained messages are divided among. */
const SHARDS = 64;
/** How often a write that another node overtook is tried. */
const MAX_ATTEMPTS = 8;
/** Between two tries to read what the engine keeps. */
const RETRY_MILLISECONDS = 1_000;

type Stored = Omit<Message, "payload"> & {
  readonly payload: { readonly kind: Payload["kind"]; readonly data: string };
};

export interface RetainedOptions {
  readonly state: LogState;
  readonly logger: Logger;
  /** Most channels with a retained message. */
  readonly maxMessages: number;
}

export class RetainedMessages implements Disposable {
  readonly #options: RetainedOptions;
  readonly #messages = new Map<string, Message>();
  readonly #revisions = new Map<number, number>();
  readonly #cleared = new Map<string, Message>();
  readonly #dirty = new Set<number>();
  #saving: Promise<void> = Promise.resolve();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: RetainedOptions) {
    this.#options = options;
  }

  /** Loads what the engine keeps; while the engine cannot be reached, again and again behind the scenes. */
  async load(): Promise<void> {
    try {
      await Promise.all(Array.from({ length: SHARDS }, (_, shard) => this.#read(shard)));
    } catch (error) {
      if (this.#closed) return;
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.logger.write("warn", "retained messages cannot be read, trying again", { reason });
      this.#retry = setTimeout(() => void this.load(), RETRY_MILLISECONDS);
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }

  /** The number of retained messages. */
  get size(): number {
    return this.#messages.size;
  }

  /** Takes what the hub delivers. */
  observe(messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.properties?.retain !== true || message.to !== undefined) continue;
      const { channel } = message;
      if (payloadSize(message.payload) === 0) {
        if (!this.#messages.delete(channel)) continue;
        this.#cleared.set(channel, message);
      } else {
        if (!this.#messages.has(channel) && this.#messages.size >= this.#options.maxMessages) {
          this.#options.logger.write("warn", "message not retained", {
            channel,
            reason: `${this.#messages.size} channels have a retained message: raise --mqtt-max-retained`,
          });
          continue;
        }
        this.#messages.set(channel, message);
        this.#cleared.delete(channel);
      }
      this.#dirty.add(shardOf(channel));
    }
    if (this.#dirty.size > 0) this.#save();
  }

  /** Resolves when everything observed so far is stored. */
  settled(): Promise<void> {
    return this.#saving;
  }

  /** The retained messages of the channels of a selector. */
  *match(selector: Selector): Iterable<Message> {
    const { channel } = selector;
    if (channel !== undefined) {
      const message = this.#messages.get(channel);
      if (message !== undefined && this.#isAlive(message)) yield message;
      return;
    }
    for (const message of this.#messages.values()) {
      if (!matchesSelector(selector, message.channel) || isHidden(selector, message.channel)) continue;
      if (this.#isAlive(message)) yield message;
    }
  }

  #isAlive(message: Message): boolean {
    if ((secondsLeft(message) ?? 1) > 0) return true;
    this.#messages.delete(message.channel);
    return false;
  }

  #save(): void {
    this.#saving = this.#saving.then(async () => {
      for (const shard of [...this.#dirty]) {
        this.#dirty.delete(shard);
        await this.#write(shard).catch((error) => {
          this.#options.logger.write("error", "storing retained messages failed", { reason: String(error) });
        });
      }
    });
  }

  async #read(shard: number): Promise<void> {
    const entry = await this.#options.state.read(keyOf(shard));
    this.#revisions.set(shard, entry?.revision ?? 0);
    for (const stored of JSON.parse(entry?.value || "[]") as Stored[]) {
      const { channel } = stored;
      const known = this.#messages.get(channel) ?? this.#cleared.get(channel);
      // Of what this node saw and what is stored, the later message holds.
      if (known === undefined || known.time < stored.time) this.#messages.set(channel, decode(stored));
    }
  }

  async #write(shard: number): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const messages = [...this.#messages.values()].filter(({ channel }) => shardOf(channel) === shard);
      const value = JSON.stringify(messages.map(encode));
      const revision = await this.#options.state.write(keyOf(shard), value, this.#revisions.get(shard) ?? 0);
      if (revision !== undefined) {
        this.#revisions.set(shard, revision);
        for (const channel of this.#cleared.keys()) {
          if (shardOf(channel) === shard) this.#cleared.delete(channel);
        }
        return;
      }
      await this.#read(shard);
    }
    throw new Error("Other nodes keep writing them");
  }
}

function keyOf(shard: number): string {
  return `mqtt-retained-${shard}`;
}

function shardOf(channel: string): number {
  return createHash("sha256").update(channel).digest()[0]! % SHARDS;
}

function encode({ payload, ...message }: Message): Stored {
  const data = payload.kind === "bytes" ? payload.bytes.toBase64() : payload.text;
  return { ...message, payload: { kind: payload.kind, data } };
}

function decode({ payload: { kind, data }, ...message }: Stored): Message {
  return {
    ...message,
    event: message.event,
    from: message.from,
    socketId: undefined,
    to: undefined,
    payload: kind === "bytes" ? { kind, bytes: Uint8Array.fromBase64(data) } : { kind, text: data },
  };
}
