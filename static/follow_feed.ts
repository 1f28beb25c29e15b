/** A list or pattern of channels over a line stream, which is only for reading. The channel page is fed by it. */
import { type ChannelMessage, type MessageJson, readMessage } from "./channel_message.ts";
import type { ConnectionState } from "./connection_state.ts";
import type { Beginning, FeedHandlers } from "./feed.ts";
import { fetchHistory, MAX_PAGE_SIZE, PAGE_SIZE, readRefusal, Refusal } from "./history.ts";
import { findGoneSince, goneFromNewest, type IsGone, type RemovalJson } from "./removal.ts";
import { authorization } from "./token.ts";

/** The server says something at least every 25 seconds. */
const SILENCE_MS = 60_000;

export class FollowFeed {
  readonly #path: string;
  readonly #state: ConnectionState;
  readonly #handlers: FeedHandlers;
  #begin: Beginning;
  /** The id to go on from; undefined before the first page. */
  #next: string | undefined;

  constructor(path: string, state: ConnectionState, handlers: FeedHandlers, begin: Beginning) {
    this.#begin = begin;
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
    } else if (error instanceof Refusal && error.status === 400 && this.#begin.since !== undefined) {
      this.#handlers.onNotice(`${error.message}.`);
      this.#begin = {};
      this.start();
    } else this.#state.lost(error instanceof Refusal ? error.message : "");
  }

  /** Reads until the stream ends. */
  async #follow(): Promise<void> {
    let findGone = async (): Promise<IsGone> =>
      goneFromNewest(await fetchHistory(this.#path, PAGE_SIZE), "sequence");
    if (this.#next === undefined) {
      const { since, limit = since === undefined ? PAGE_SIZE : MAX_PAGE_SIZE } = this.#begin;
      const page = await fetchHistory(this.#path, limit, since);
      // What follows comes by the stream.
      this.#handlers.onHistory(page.messages, false);
      this.#next = page.next;
      findGone = () => findGoneSince(this.#path, page, "sequence");
    }
    const abort = new AbortController();
    const hangUp = () => abort.abort();
    // The stream itself would only fall silent.
    addEventListener("offline", hangUp);
    let silence = 0;
    const listen = () => {
      clearTimeout(silence);
      silence = setTimeout(hangUp, SILENCE_MS);
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
      // Only from now on this page is told of what is removed.
      findGone().then((isGone) => this.#handlers.onGone(isGone), () => {});
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
      removeEventListener("offline", hangUp);
      clearTimeout(silence);
    }
  }

  #take(lines: readonly string[]): void {
    const messages: ChannelMessage[] = [];
    for (const line of lines) {
      const json: (MessageJson & { type?: undefined }) | RemovalJson | { type: "gap" } = JSON.parse(line);
      if (json.type === "gap") this.#handlers.onGap();
      else if (json.type !== undefined) {
        if (messages.length > 0) this.#handlers.onLive(messages.splice(0));
        this.#handlers.onRemoved(json);
      } else {
        messages.push(readMessage(json));
        this.#next = json.id ?? this.#next;
      }
    }
    if (messages.length > 0) this.#handlers.onLive(messages);
  }
}
