/** What a conversation is fed by: one channel over the Centrifuge client, or a list or pattern over a line stream. */
import type { ChannelMessage } from "./channel_message.ts";

export interface FeedHandlers {
  /** Stored messages, oldest first; when they are the first of all, `hasGap` says that older ones are gone. */
  onHistory(messages: readonly ChannelMessage[]): void;
  /** What has just been published, or was published while the connection was down. */
  onLive(messages: readonly ChannelMessage[]): void;
  /** Too much was missed to show all of it: what was shown gives way to the newest. */
  onReset(): void;
  /** Messages are gone whose number nobody knows. */
  onGap(): void;
  /** Connected, and everything missed is there. */
  onReady(): void;
  /** Something the reader has to know, which does not end the feed. */
  onNotice(text: string): void;
  /** The feed has ended. A token, or another one, would help where `asksForToken`. */
  onEnd(reason: string, asksForToken: boolean): void;
}
