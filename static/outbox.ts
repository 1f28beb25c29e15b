/**
 * Messages on their way to the server. They are remembered until it has acknowledged them, across reloads, and each
 * carries a key by which it is stored once however often it is sent. Conversations write through it.
 */
import type { ChannelMessage } from "./channel_message.ts";
import { credentialName, messageLimit, takesKey } from "./credential.ts";
import { fetchHistory, readRefusal, Refusal } from "./history.ts";
import { createId, listKeys, recall, remember } from "./remembered.ts";
import { authorization } from "./token.ts";

/** The server knows keys for five minutes; after that it is asked what it has stored before anything is repeated. */
export const KEY_LIFE_MS = 4 * 60_000;
const ANSWER_TIMEOUT_MS = 15_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;
const MAX_SEARCHED = 1_000;

/** One message that has not been acknowledged. */
export interface Entry {
  readonly key: string;
  readonly text: string;
  readonly writtenAt: number;
  /** When it was first sent, and the newest message known then. */
  readonly sentAt?: number;
  readonly after?: number;
  /** Why the server does not take it. It is not sent again by itself. */
  readonly problem?: string;
}

export interface OutboxOptions {
  readonly channel: string;
  readonly path: string;
  /** Who the messages are from, where the server takes this page's word for it. */
  readonly sender: () => { readonly id: string; readonly name: string };
  readonly isMine: (message: ChannelMessage) => boolean;
  readonly lastOffset: () => number;
  /** Publishes by the subscription, which a rule may allow where it does not allow a request. */
  readonly publish?: ((text: string) => Promise<void>) | undefined;
  /** Told what the server answers on a channel that has no other readers. */
  readonly onAnswer: (text: string) => void;
  /** Offered a message that the server refuses, with the reason. Whoever answers true has taken it back. */
  readonly onRefused: (text: string, problem: string) => boolean;
  /** Called whenever an entry comes, changes or goes. */
  readonly onChange: () => void;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #prefix: string;
  #isReady = false;
  #isSending = false;
  #isNamed = true;
  #sending: string | undefined;
  #failures = 0;
  #pause = 0;
  /** No two messages are written at the same time, so that they keep their order. */
  #lastWritten = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#prefix = `raindrops.outbox ${options.channel.replaceAll(" ", "%20")} `;
  }

  /** What waits, oldest first. */
  list(): readonly Entry[] {
    const entries = listKeys(this.#prefix).flatMap((key) => readEntry(recall(key)));
    return entries.sort((a, b) => a.writtenAt - b.writtenAt || (a.key < b.key ? -1 : 1));
  }

  /** The key of the entry that is with the server just now. */
  get sending(): string | undefined {
    return this.#sending;
  }

  /** Takes a message, and sends it as soon as it can. */
  add(text: string): void {
    this.#lastWritten = Math.max(Date.now(), this.#lastWritten + 1);
    this.#keep({ key: createId(), text, writtenAt: this.#lastWritten });
    void this.flush();
  }

  /** Sends a message again that was not taken. */
  repeat(entry: Entry): void {
    const { problem: _, sentAt: __, after: ___, ...fresh } = entry;
    this.#keep(fresh);
    void this.flush();
  }

  discard(entry: Entry): void {
    remember(this.#prefix + entry.key, undefined);
    this.#options.onChange();
  }

  /** Says whether the server can be reached; what waits is sent when it can. */
  setReady(isReady: boolean): void {
    this.#isReady = isReady;
    clearTimeout(this.#pause);
    this.#failures = 0;
    if (isReady) void this.flush();
  }

  /** Sends what waits, one after the other, as long as the server takes it. */
  async flush(): Promise<void> {
    if (!this.#isReady || this.#isSending) return;
    this.#isSending = true;
    try {
      // Pages of the same channel share what waits: each message is sent by one of them.
      if (navigator.locks === undefined) await this.#sendAll();
      else await navigator.locks.request(this.#prefix, () => this.#sendAll());
      this.#failures = 0;
    } catch {
      this.#pause = setTimeout(
        () => this.flush(),
        Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++),
      );
    } finally {
      this.#isSending = false;
      this.#sending = undefined;
      this.#options.onChange();
    }
  }

  /** @throws when the server could not be reached, or asks to be left alone for a moment */
  async #sendAll(): Promise<void> {
    for (;;) {
      const entry = this.list().find(({ problem }) => problem === undefined);
      if (entry === undefined || !this.#isReady) return;
      this.#sending = entry.key;
      this.#options.onChange();
      await this.#send(entry);
    }
  }

  async #send(entry: Entry): Promise<void> {
    if (
      entry.sentAt !== undefined && Date.now() - entry.sentAt > KEY_LIFE_MS && await this.#isStored(entry)
    ) {
      return this.discard(entry);
    }
    const { sentAt = Date.now(), after = this.#options.lastOffset() } = entry;
    this.#keep({ ...entry, sentAt, after });
    const { path, sender } = this.#options;
    const query = this.#isNamed ? senderQuery(sender()) : "";
    const response = await fetch(path + query, {
      method: "POST",
      headers: {
        "accept": "application/json",
        "content-type": "text/plain; charset=utf-8",
        "idempotency-key": entry.key,
        ...authorization(),
      },
      body: entry.text,
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    if (response.ok) {
      const answer = await response.text();
      this.discard(entry);
      if (!response.headers.get("content-type")?.includes("json")) this.#options.onAnswer(answer);
      return;
    }
    const refusal = await readRefusal(response);
    // A server with keys takes names from tokens alone.
    if (refusal.isDenial && query !== "") this.#isNamed = false;
    else if (refusal.isDenial && await this.#publishSubscribed(entry)) this.discard(entry);
    else if (refusal.status < 500 && refusal.status !== 429) {
      const problem = describeRefusal(refusal);
      if (this.#options.onRefused(entry.text, problem)) this.discard(entry);
      else this.#keep({ ...entry, problem });
    } else throw refusal;
  }

  /** Publishes as the official client does. Answers whether that was allowed. */
  async #publishSubscribed({ text }: Entry): Promise<boolean> {
    const { publish } = this.#options;
    if (publish === undefined) return false;
    try {
      await publish(text);
      return true;
    } catch {
      return false;
    }
  }

  /** Whether a message that may have arrived is among those that came after it was first sent. */
  async #isStored({ text, after = 0 }: Entry): Promise<boolean> {
    try {
      const { messages } = await fetchHistory(this.#options.path, MAX_SEARCHED, after);
      return messages.some((message) => message.data === text && this.#options.isMine(message));
    } catch (error) {
      if (error instanceof Refusal && error.isDenial) return false;
      throw error;
    }
  }

  #keep(entry: Entry): void {
    remember(this.#prefix + entry.key, JSON.stringify(entry));
    this.#options.onChange();
  }
}

/** The query that says who a message is from: a token says it itself, whoever has an API key says so by themselves. */
export function senderQuery(sender: { readonly id: string; readonly name: string }): string {
  const mayChoose = takesKey || Object.keys(authorization()).length === 0;
  return mayChoose ? `?${new URLSearchParams({ ...sender })}` : "";
}

/** Why a message may not be sent, if that is known before. */
export function findProblem(text: string): string | undefined {
  const size = new TextEncoder().encode(text).length;
  if (messageLimit === 0 || size <= messageLimit) return undefined;
  return `Too long: ${formatSize(size)} of ${formatSize(messageLimit)}`;
}

/** Why the server did not take a message, in words for a person. */
export function describeRefusal({ status, message }: Refusal): string {
  if (status === 401) return `Not sent: writing here takes ${credentialName}`;
  if (status === 413) return `Not sent: too large. ${message}`;
  if (status === 403) return `Not sent: you may not write here. ${message}`;
  return `Not sent: ${message}`;
}

export function formatSize(bytes: number): string {
  return bytes < 1024 ? `${bytes} bytes` : `${Math.ceil(bytes / 1024).toLocaleString()} KB`;
}

/** An entry as it was remembered; none where something else stands there. */
function readEntry(text: string | undefined): Entry[] {
  try {
    const entry = JSON.parse(text ?? "");
    const isEntry = typeof entry?.key === "string" && typeof entry.text === "string" &&
      Number.isFinite(entry.writtenAt);
    return isEntry ? [entry] : [];
  } catch {
    return [];
  }
}
