/** What a conversation is fed by: one channel over the Centrifuge client, or a list or pattern over a line stream. */
import type { ChannelMessage } from "./channel_message.ts";
import type { IsGone, RemovalJson } from "./removal.ts";

export interface FeedHandlers {
  /** Stored messages, oldest first. `isCut` says that newer ones follow, which were not asked for. */
  onHistory(messages: readonly ChannelMessage[], isCut: boolean): void;
  /** What has just been published, or was published while the connection was down. */
  onLive(messages: readonly ChannelMessage[]): void;
  /** Too much was missed to show all of it: what was shown gives way to the newest. */
  onReset(): void;
  /** Messages were removed from a channel. */
  onRemoved(removal: RemovalJson): void;
  /** Messages were removed while nobody told this page: before it was connected, or while the connection was down. */
  onGone(isGone: IsGone): void;
  /** What was said before is not for this reader. */
  onHistoryDenied(): void;
  /** Messages are gone whose number nobody knows. */
  onGap(): void;
  /** Connected, and everything missed is there. */
  onReady(): void;
  /** Something the reader has to know, which does not end the feed. */
  onNotice(text: string): void;
  /** The feed has ended. A token, or another one, would help where `asksForToken`. */
  onEnd(reason: string, asksForToken: boolean): void;
}

/** Where a page begins to read, as its address says; from the newest messages if nothing is said. */
export interface Beginning {
  /** An id, an offset, a duration, a time or `earliest`, as the server reads it. */
  readonly since?: string | undefined;
  /** How many messages to begin with. */
  readonly limit?: number | undefined;
}
