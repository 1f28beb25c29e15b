/** One channel over the official Centrifuge client, with its history. The home and channel pages are fed by it. */
import { Centrifuge, type Subscription } from "centrifuge";
import { type ChannelMessage, readPublication } from "./channel_message.ts";
import type { ConnectionState } from "./connection_state.ts";
import { ASKS_FOR_CREDENTIAL, takesKey } from "./credential.ts";
import type { Beginning, FeedHandlers } from "./feed.ts";
import { fetchHistory, type HistoryPage, MAX_PAGE_SIZE, PAGE_SIZE, Refusal } from "./history.ts";
import { readId } from "./identity.ts";
import { findGoneSince, goneFromNewest, isRemoved, readRemoval, type RemovalJson } from "./removal.ts";
import { readToken } from "./token.ts";

/** More than this is not fetched at once after a long absence. */
const MAX_MISSED = 1_000;
/** The client's own pauses say nothing of their length, and pages show the seconds: theirs never ends by itself. */
const NEVER_MS = 24 * 60 * 60 * 1_000;

/** Codes of `disconnected` after which a token, or another one, would help. */
const UNAUTHORIZED = 1;
const INVALID_TOKEN = 3500;
const BAD_REQUEST = 3501;
const PERMISSION_DENIED = 103;

const REASONS: Readonly<Record<string, string>> = {
  "transport closed": "",
  "no ping": "the server fell silent",
  "shutdown": "the server restarts",
};

export interface LiveFeedOptions {
  readonly channel: string;
  readonly path: string;
  readonly name: string;
  readonly state: ConnectionState;
  readonly handlers: FeedHandlers;
  readonly begin?: Beginning;
  /** Called once, before anything comes by the subscription. */
  readonly onSubscription?: (subscription: Subscription) => void;
}

export class LiveFeed {
  readonly centrifuge: Centrifuge;
  readonly #options: LiveFeedOptions;
  #subscription: Subscription | undefined;
  #loading = false;
  #begin: Beginning;
  #epoch = "";
  #lastOffset = 0;
  /** What is published and removed while missed messages are fetched, in its order. */
  #held: (ChannelMessage | RemovalJson)[] | undefined;

  constructor(options: LiveFeedOptions) {
    this.#options = options;
    this.#begin = options.begin ?? {};
    const url = new URL("/connection/websocket", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.centrifuge = new Centrifuge(url.href, {
      data: introduce(options.name),
      token: readToken(),
      minReconnectDelay: NEVER_MS,
      maxReconnectDelay: NEVER_MS,
    });
    this.#listen();
    this.start();
    void this.#load();
  }

  /** The newest stored message that is known of. */
  get lastOffset(): number {
    return this.#lastOffset;
  }

  /** Connects, also after the server ended the connection. */
  start(): void {
    this.#options.state.connecting();
    this.centrifuge.disconnect();
    this.centrifuge.connect();
    this.#subscription?.subscribe();
  }

  /** Publishes by the subscription, where a rule lets subscribers do that and nobody else. */
  async publish(text: string): Promise<void> {
    await this.#subscription?.publish(text);
  }

  /** Takes another name, which takes another connection. */
  rename(name: string): void {
    this.centrifuge.setData(introduce(name));
    this.start();
  }

  #listen(): void {
    const { state, handlers } = this.#options;
    this.centrifuge.on("connecting", ({ code, reason }) => {
      if (code !== 0) state.lost(REASONS[reason] ?? reason);
    });
    this.centrifuge.on("error", ({ error }) => {
      if (this.centrifuge.state === "connecting" && !state.isWaiting) {
        state.lost(REASONS[error.message] ?? error.message);
      }
    });
    this.centrifuge.on("connected", () => {
      if (this.#subscription === undefined) void this.#load();
    });
    this.centrifuge.on("message", ({ data }) => {
      const removal = readRemoval(data);
      if (removal?.channel === this.#options.channel) void this.#check(removal);
    });
    this.centrifuge.on("disconnected", ({ code, reason }) => {
      if (code === 0) return;
      state.ended("Not connected");
      if (code === UNAUTHORIZED) handlers.onEnd("Your token has expired: it takes a new one.", true);
      else if (code === INVALID_TOKEN) {
        handlers.onEnd(
          takesKey
            ? "This is not an API key of this server: it takes another one."
            : "This token is not valid here: it takes another one.",
          true,
        );
      } else if (code === BAD_REQUEST) handlers.onEnd(ASKS_FOR_CREDENTIAL, true);
      else handlers.onEnd(`The server ended the connection: ${reason}.`, false);
    });
  }

  /** Reads the newest messages and subscribes from there on, once. */
  async #load(): Promise<void> {
    if (this.#loading) return;
    this.#loading = true;
    const { path, handlers, state } = this.#options;
    try {
      const { since, limit = since === undefined ? PAGE_SIZE : MAX_PAGE_SIZE } = this.#begin;
      const page = await fetchHistory(path, limit, since);
      this.#epoch = page.epoch;
      this.#lastOffset = page.offset;
      handlers.onHistory(page.messages, page.more);
      this.#subscribe(page);
    } catch (error) {
      if (error instanceof Refusal && error.isDenial) {
        this.#subscribe(undefined);
      } else if (error instanceof Refusal && error.status === 400 && this.#begin.since !== undefined) {
        // The address asks for what nobody understands: then from the newest messages on.
        handlers.onNotice(`${error.message}.`);
        this.#begin = {};
        queueMicrotask(() => void this.#load());
      } else state.lost(error instanceof Refusal ? error.message : "");
    } finally {
      this.#loading = false;
    }
  }

  /** @param page the history to go on from, or undefined for those who may not read it */
  #subscribe(page: HistoryPage | undefined): void {
    const { channel, path, handlers, state } = this.#options;
    const subscription = this.centrifuge.newSubscription(channel, {
      joinLeave: true,
      ...(page === undefined ? {} : { since: { epoch: page.epoch, offset: page.offset } }),
    });
    this.#subscription = subscription;
    let isFirst = true;
    subscription.on("subscribed", async ({ recovered, streamPosition }) => {
      if (page !== undefined && !(isFirst && recovered)) await this.#catchUp();
      else this.#epoch = streamPosition?.epoch ?? this.#epoch;
      // Only from now on this page is told of what is removed.
      if (page !== undefined && isFirst) {
        findGoneSince(path, page, "offset").then((isGone) => handlers.onGone(isGone), () => {});
      }
      // Not before: who may not read the channel at all is to hear of that alone.
      if (page === undefined && isFirst) {
        handlers.onHistoryDenied();
        handlers.onNotice("You may not see what was said here before.");
      }
      isFirst = false;
      if (subscription.state !== "subscribed") return;
      state.live();
      handlers.onReady();
    });
    subscription.on("publication", (context) => this.#take(readPublication(context, this.#epoch)));
    subscription.on("unsubscribed", ({ code, reason }) => {
      if (code === 0) return;
      state.ended("Not connected");
      if (code === PERMISSION_DENIED) {
        const words = readToken() === ""
          ? ASKS_FOR_CREDENTIAL
          : `You may not read this channel: ${reason}. Another token may help.`;
        handlers.onEnd(words, true);
      } else handlers.onEnd(`The server took this page off the channel: ${reason}.`, false);
    });
    this.#options.onSubscription?.(subscription);
    subscription.subscribe();
  }

  /**
   * Fetches what was published while the connection was down: what the subscription recovers comes without its time,
   * and when it was too much or is gone, not at all.
   */
  async #catchUp(): Promise<void> {
    const { path, handlers } = this.#options;
    const held: (ChannelMessage | RemovalJson)[] = this.#held = [];
    try {
      let page = await fetchHistory(path, MAX_MISSED, this.#lastOffset);
      if (page.more || page.epoch !== this.#epoch) {
        if (page.more) handlers.onReset();
        page = await fetchHistory(path, PAGE_SIZE);
      } else {
        handlers.onGone(goneFromNewest(await fetchHistory(path, PAGE_SIZE), "offset"));
      }
      this.#epoch = page.epoch;
      this.#emit(page.messages);
      this.#lastOffset = Math.max(this.#lastOffset, page.offset);
    } catch {
      // The connection is gone again, or history is not for this reader any more: offsets will show what is missing.
    } finally {
      if (this.#held === held) this.#held = undefined;
      for (const change of held) this.#take("type" in change ? change : { ...change, epoch: this.#epoch });
    }
  }

  /** Takes a removal if it is true. */
  async #check(removal: RemovalJson): Promise<void> {
    if (await isRemoved(this.#options.path, removal)) this.#take(removal);
  }

  /** Passes on what is published or removed, or holds it while missed messages are fetched. */
  #take(change: ChannelMessage | RemovalJson): void {
    if (this.#held !== undefined) this.#held.push(change);
    else if ("type" in change) this.#options.handlers.onRemoved(change);
    else this.#emit([change]);
  }

  #emit(messages: readonly ChannelMessage[]): void {
    if (messages.length === 0) return;
    for (const { epoch, offset } of messages) {
      if (epoch === this.#epoch) this.#lastOffset = Math.max(this.#lastOffset, offset);
    }
    this.#options.handlers.onLive(messages);
  }
}

/** What a page says of itself: its name, which browser it is of, and that it wants to know what is removed. */
function introduce(name: string): Readonly<Record<string, unknown>> {
  return { name, id: readId(), removals: true };
}
