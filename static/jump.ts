/**
 * A conversation that does not show the newest messages: from a message or a time on, as an address or a search says. It
 * reads on as somebody scrolls down, until it has reached the newest. Conversations own one.
 */
import type { Changes, ChangeWatch } from "./change_watch.ts";
import { type ChannelMessage, parseId } from "./channel_message.ts";
import { fetchHistory, FURTHER_SIZE, type HistoryPage, PAGE_SIZE } from "./history.ts";
import type { MessageList } from "./message_list.ts";

export interface JumpOptions {
  readonly path: string;
  readonly list: MessageList;
  /** Is told of all that comes and is removed. */
  readonly watch: ChangeWatch;
  /** Says something that the reader has to know. */
  readonly onNotice: (text: string) => void;
  /** Called whenever the conversation leaves the newest messages, or is back. */
  readonly onChange: (isAway: boolean) => void;
}

/** A page of messages, and some of those before it. */
interface Excerpt {
  readonly page: HistoryPage;
  readonly before: readonly ChannelMessage[];
}

export class Jump {
  readonly #options: JumpOptions;
  #isAway = false;
  #isReadingOn = false;
  /** Counts what somebody asked for: only the last of it is shown. */
  #asked = 0;

  constructor(options: JumpOptions) {
    this.#options = options;
  }

  /** Whether messages lie between those shown and the newest. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** The page shows messages that newer ones follow. */
  leave(): void {
    this.#isAway = true;
    this.#options.list.follows = false;
    this.#options.onChange(true);
  }

  /** Shows the message with an id, with what surrounds it. */
  async toMessage(id: string): Promise<void> {
    const parsed = parseId(id);
    if (parsed === undefined) return;
    const { epoch, sequence } = parsed;
    const { list, onNotice } = this.#options;
    if (list.reveal(epoch, sequence, 0)) return;
    await this.#read(`${epoch}-${sequence - 1}`, (excerpt, changes) => {
      const [message] = changes.left(excerpt.page.messages);
      if (message === undefined || message.epoch !== epoch || message.sequence !== sequence) {
        return onNotice("The message that this address names is not kept any more.");
      }
      // It may be shown already, by its offset alone.
      if (list.reveal(epoch, sequence, message.offset)) return;
      this.#show(excerpt, changes);
      list.reveal(epoch, sequence, message.offset);
    });
  }

  /** Shows what was said from a time on. */
  async toTime(time: Date): Promise<void> {
    const { list, onNotice } = this.#options;
    await this.#read(time.toISOString(), (excerpt, changes) => {
      const [first] = changes.left(excerpt.page.messages);
      if (first === undefined) return onNotice("Nothing is kept from then on.");
      this.#show(excerpt, changes);
      list.reveal(first.epoch, first.sequence, first.offset);
    });
  }

  /** Reads on towards the newest messages. */
  async readOn(): Promise<void> {
    const { list, path, watch } = this.#options;
    const { last } = list;
    if (!this.#isAway || this.#isReadingOn || last === undefined) return;
    const asked = this.#asked;
    this.#isReadingOn = true;
    try {
      await watch.during(async (changes) => {
        const page = await fetchHistory(path, FURTHER_SIZE, last.offset);
        if (asked !== this.#asked) return;
        list.follows = false;
        this.#add(page, changes);
      });
    } catch {
      // Scrolling again tries again.
    } finally {
      this.#isReadingOn = false;
    }
  }

  /** Goes back to the newest messages. */
  async back(): Promise<void> {
    const { list } = this.#options;
    await this.#read(undefined, ({ page }, changes) => {
      list.clear();
      list.follows = true;
      this.#add(page, changes);
      list.scrollToEnd();
    });
  }

  /** Reads a page, and shows it unless something else was asked for since. */
  async #read(
    since: string | undefined,
    show: (excerpt: Excerpt, changes: Changes) => void,
  ): Promise<void> {
    const { path, watch, onNotice } = this.#options;
    const asked = ++this.#asked;
    try {
      await watch.during(async (changes) => {
        const page = await fetchHistory(path, PAGE_SIZE, since);
        const before = since === undefined ? [] : await readBefore(path, page.messages[0]);
        if (asked === this.#asked) show({ page, before }, changes);
      });
    } catch (error) {
      if (asked === this.#asked) onNotice(error instanceof Error ? error.message : String(error));
    }
  }

  /** Puts a page in the place of what is shown, and some older messages above it. */
  #show({ page, before }: Excerpt, changes: Changes): void {
    const { list } = this.#options;
    list.clear();
    list.follows = false;
    list.add(changes.left(before));
    this.#add(page, changes);
  }

  /** Adds a page, and if it is the last one what came after it. */
  #add(page: HistoryPage, changes: Changes): void {
    const { list, onChange } = this.#options;
    list.add(changes.left(page.messages));
    if (page.more) {
      if (!this.#isAway) this.leave();
      return;
    }
    list.add(changes.after(page));
    this.#isAway = false;
    onChange(false);
  }
}

/** Some messages before one; none where they cannot be had. */
async function readBefore(
  path: string,
  message: ChannelMessage | undefined,
): Promise<readonly ChannelMessage[]> {
  const before = message?.offset ?? 0;
  if (before < 2) return [];
  try {
    const { messages } = await fetchHistory(path, 10, Math.max(0, before - 11));
    return messages.filter(({ offset }) => offset < before);
  } catch {
    return [];
  }
}
