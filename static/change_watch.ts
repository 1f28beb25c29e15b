/**
 * What changes while a page of history is on its way: the server read it before, so that it lacks what came since and has
 * what was removed since. Conversations and the page of patterns note changes here, and whoever fetches a page asks.
 */
import type { ChannelMessage } from "./channel_message.ts";
import type { HistoryPage } from "./history.ts";
import type { IsGone } from "./removal.ts";

/** What has changed since a request was sent. */
export class Changes {
  readonly came: ChannelMessage[] = [];
  readonly gone: IsGone[] = [];

  /** Those messages of a page that were not removed since. */
  left(messages: readonly ChannelMessage[]): readonly ChannelMessage[] {
    return messages.filter((message) => !this.gone.some((isGone) => isGone(message)));
  }

  /** The messages that came after the server had read a page, in the order in which they came. */
  after({ epoch, offset }: HistoryPage): readonly ChannelMessage[] {
    return this.left(this.came).filter((message) =>
      message.offset === 0 || message.epoch !== epoch || message.offset > offset
    );
  }
}

export class ChangeWatch {
  readonly #underway = new Set<Changes>();

  /** Takes note of messages that have just come. */
  noteMessages(messages: readonly ChannelMessage[]): void {
    for (const { came } of this.#underway) came.push(...messages);
  }

  /** Takes note of messages that were removed. */
  noteGone(isGone: IsGone): void {
    for (const { gone } of this.#underway) gone.push(isGone);
  }

  /** Does what fetches pages, with what changes from its beginning to its end. */
  async during<T>(work: (changes: Changes) => Promise<T>): Promise<T> {
    const changes = new Changes();
    this.#underway.add(changes);
    try {
      return await work(changes);
    } finally {
      this.#underway.delete(changes);
    }
  }
}
