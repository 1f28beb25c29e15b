/** A list or pattern of channels over a line stream, which is only for reading. The channel page is fed by it. */
import { type ChannelMessage, type MessageJson, readMessage } from "./channel_message.ts";
import type { ConnectionState } from "./connection_state.ts";
import type { FeedHandlers } from "./feed.ts";
import { fetchHistory, PAGE_SIZE, readRefusal, Refusal } from "./history.ts";
import { authorization } from "./token.ts";

/** The server says something at least every 25 seconds. */
const SILENCE_MS = 60_000;

export class FollowFeed {
  readonly #path: string;
  readonly #state: ConnectionState;
  readonly #handlers: FeedHandlers;
  /** The id to go on from; undefined before the first page. */
  #next: string | undefined;

  constructor(path: string, state: ConnectionState, handlers: FeedHandlers) {
    this.#path = path;
    this.#state = state;
    this.#handlers = handlers;
    this.start();
  }

  /** Connects, again and again. */
  start(): void {
    this.#state.connecting();
    this.#follow().then(() => this.#state.lost(""), (error) => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (error instanceof Refusal && error.isDenial) {
      this.#state.ended("Not connected");
      this.#handlers.onEnd(`${error.message}.`, true);
    } else this.#state.lost(error instanceof Refusal ? error.message : "");
  }

  /** Reads until the stream ends. */
  async #follow(): Promise<void> {
    if (this.#next === undefined) {
      const page = await fetchHistory(this.#path, PAGE_SIZE);
      this.#handlers.onHistory(page.messages);
      this.#next = page.next;
    }
    const abort = new AbortController();
    let silence = 0;
    const listen = () => {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    try {
      listen();
      const response = await fetch(
        `${this.#path}?${new URLSearchParams({ follow: "", since: this.#next })}`,
        {
          headers: { accept: "application/x-ndjson", ...authorization() },
          signal: abort.signal,
        },
      );
      if (!response.ok || response.body === null) throw await readRefusal(response);
      this.#state.live();
      this.#handlers.onReady();
      let rest = "";
      for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();;) {
        const { value, done } = await reader.read();
        if (done) return;
        listen();
        const lines = (rest + value).split("\n");
        rest = lines.pop() ?? "";
        this.#take(lines.filter((line) => line !== ""));
      }
    } finally {
      clearTimeout(silence);
    }
  }

  #take(lines: readonly string[]): void {
    const messages: ChannelMessage[] = [];
    for (const line of lines) {
      const json: MessageJson & { type?: string } = JSON.parse(line);
      if (json.type === "gap") this.#handlers.onGap();
      else {
        messages.push(readMessage(json));
        this.#next = json.id ?? this.#next;
      }
    }
    if (messages.length > 0) this.#handlers.onLive(messages);
  }
}
