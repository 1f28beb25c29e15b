/**
 * A conversation that does not show the newest messages: from a message or a time on, as an address or a search says. It
 * reads on as somebody scrolls down, until it has reached the newest. Conversations own one.
 */
import { type ChannelMessage, parseId } from "./channel_message.ts";
import { fetchHistory, FURTHER_SIZE, type HistoryPage, PAGE_SIZE } from "./history.ts";
import type { MessageList } from "./message_list.ts";

export interface JumpOptions {
  readonly path: string;
  readonly list: MessageList;
  /** Says something that the reader has to know. */
  readonly onNotice: (text: string) => void;
  /** Called whenever the conversation leaves the newest messages, or is back. */
  readonly onChange: (isAway: boolean) => void;
}

export class Jump {
  readonly #options: JumpOptions;
  #isAway = false;
  #isLoading = false;

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
    const page = await this.#read(`${epoch}-${sequence - 1}`);
    const [message] = page?.messages ?? [];
    if (page === undefined) return;
    if (message === undefined || message.epoch !== epoch || message.sequence !== sequence) {
      return onNotice("The message that this address names is not kept any more.");
    }
    // It may be shown already, by its offset alone.
    if (list.reveal(epoch, sequence, message.offset)) return;
    await this.#show(page);
    list.reveal(epoch, sequence, message.offset);
  }

  /** Shows what was said from a time on. */
  async toTime(time: Date): Promise<void> {
    const page = await this.#read(time.toISOString());
    const [first] = page?.messages ?? [];
    if (page === undefined) return;
    if (first === undefined) return this.#options.onNotice("Nothing is kept from then on.");
    await this.#show(page);
    this.#options.list.reveal(first.epoch, first.sequence, first.offset);
  }

  /** Reads on towards the newest messages. */
  async readOn(): Promise<void> {
    const { list, path } = this.#options;
    const { last } = list;
    if (!this.#isAway || this.#isLoading || last === undefined) return;
    this.#isLoading = true;
    try {
      const { messages, more } = await fetchHistory(path, FURTHER_SIZE, last.offset);
      if (list.last !== last) return;
      list.follows = false;
      list.add(messages);
      if (!more) this.#arrive();
    } catch {
      // Scrolling again tries again.
    } finally {
      this.#isLoading = false;
    }
  }

  /** Goes back to the newest messages. */
  async back(): Promise<void> {
    const { list, path } = this.#options;
    const { messages } = await fetchHistory(path, PAGE_SIZE);
    list.clear();
    list.follows = true;
    list.add(messages);
    this.#arrive();
    list.scrollToEnd();
  }

  #arrive(): void {
    this.#isAway = false;
    this.#options.onChange(false);
  }

  async #read(since: string): Promise<HistoryPage | undefined> {
    try {
      return await fetchHistory(this.#options.path, PAGE_SIZE, since);
    } catch (error) {
      this.#options.onNotice(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  /** Puts a page in the place of what is shown, and some older messages above it. */
  async #show({ messages, more }: HistoryPage): Promise<void> {
    const { list, path } = this.#options;
    const first: ChannelMessage | undefined = messages[0];
    const older = first === undefined || first.offset < 2
      ? []
      : await readBefore(path, first.offset).catch(() => []);
    list.clear();
    list.follows = false;
    list.add([...older, ...messages]);
    if (more) this.leave();
    else this.#arrive();
  }
}

async function readBefore(path: string, before: number): Promise<readonly ChannelMessage[]> {
  const { messages } = await fetchHistory(path, 10, Math.max(0, before - 11));
  return messages.filter(({ offset }) => offset < before);
}
