/** The messages of a conversation in their order, with a line wherever some are missing. Conversations fill it. */
import { releaseBytes } from "./bytes_view.ts";
import type { ChannelMessage } from "./channel_message.ts";
import { createDay, createGap, describeGap, type Row } from "./message_row.ts";
import { continues, createMessageView, formatDay } from "./message_view.ts";
import { goneBy, type IsGone, type RemovalJson } from "./removal.ts";

/** Messages on the page while it follows the newest; older ones come back on demand. */
const MAX_SHOWN = 500;
/** Messages on the page while somebody reads further up. */
const MAX_KEPT = 5_000;
/** How near to the end counts as reading the newest, in pixels. */
const NEAR = 60;
/** How near to either end of what is loaded more of it is loaded, in pixels. */
const AHEAD = 600;

/** A page of messages that are further away from the newest. */
export interface OlderPage {
  readonly messages: readonly ChannelMessage[];
  /** Whether there are still older ones. */
  readonly more: boolean;
}

export interface MessageListOptions {
  /** What scrolls, and in it the list, and above that what leads to older messages. */
  readonly scroller: HTMLElement;
  readonly list: HTMLElement;
  readonly older: HTMLElement;
  readonly isMine: (message: ChannelMessage) => boolean;
  /** Reads the messages before an offset; undefined where that cannot be asked for. */
  readonly loadOlder: ((before: number) => Promise<OlderPage>) | undefined;
  /** Called when somebody comes near to the end by scrolling down. */
  readonly onNearEnd?: () => void;
  /** Adds to a new item what one can do with its message. */
  readonly decorate?: ((item: HTMLElement, message: ChannelMessage) => void) | undefined;
}

export class MessageList {
  readonly #options: MessageListOptions;
  readonly #button = document.createElement("button");
  /** In the order shown. */
  #rows: Row[] = [];
  #byPosition = new Map<string, Row>();
  #isExhausted = false;
  #isLoading = false;
  #hasFailed = false;
  /** Whether older messages may be asked for. */
  #mayLoad = true;
  /** The positions of messages that this page has seen removed. */
  readonly #takenBack = new Set<string>();
  /** Whether the newest message is kept in sight. */
  #follows = true;
  #top = 0;

  constructor(options: MessageListOptions) {
    this.#options = options;
    const { scroller, list } = options;
    scroller.addEventListener("scroll", () => this.#noteScroll(), { passive: true });
    // Pictures grow when they are loaded, and the scroller shrinks when a keyboard is shown.
    const observer = new ResizeObserver(() => this.#follows && this.scrollToEnd());
    for (const element of [scroller, list]) observer.observe(element);
    this.#button.type = "button";
    this.#button.className = "quiet";
    this.#button.textContent = "Show older messages";
    this.#button.onclick = () => this.#loadOlder(true);
  }

  /** Whether the newest message is in sight. */
  get isAtEnd(): boolean {
    const { scroller } = this.#options;
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR;
  }

  scrollToEnd(): void {
    const { scroller } = this.#options;
    scroller.scrollTop = scroller.scrollHeight;
    this.#follows = true;
  }

  /** Adds messages where they belong. One that is shown already is replaced by what is known better. */
  add(messages: readonly ChannelMessage[]): void {
    const follows = this.#follows;
    // What would be trimmed at once is not made first.
    for (const message of follows ? messages.slice(-MAX_SHOWN) : messages) this.#insert(message);
    if (follows) {
      this.#trim(MAX_SHOWN);
      this.scrollToEnd();
    } else this.#trim(MAX_KEPT);
    this.#markDays();
    this.#showOlder();
  }

  /** Removes everything. */
  clear(): void {
    for (const row of this.#rows) releaseBytes(row.element);
    this.#rows = [];
    this.#byPosition.clear();
    this.#isExhausted = false;
    this.#options.list.replaceChildren();
  }

  /** How many messages are shown. */
  get size(): number {
    return this.#rows.length;
  }

  /** The newest stored message that is shown. */
  get last(): ChannelMessage | undefined {
    return this.#rows.findLast(({ message }) => message.offset > 0)?.message;
  }

  /** Older messages are not for this reader. */
  denyOlder(): void {
    this.#mayLoad = false;
    this.#showOlder();
  }

  /** Follows the newest message no longer, or again. */
  set follows(follows: boolean) {
    this.#follows = follows;
  }

  /** Takes away what was removed from its channel. */
  remove(removal: RemovalJson): void {
    const [epoch] = removal.id.split("-");
    if (removal.type === "removed") this.#takenBack.add(`${epoch}:${removal.offset}`);
    this.drop(goneBy(removal));
  }

  /** Brings a message into view and marks it. Answers false when it is not among those shown. */
  reveal(epoch: string, sequence: number, offset: number): boolean {
    const row = this.#rows.find(({ message }) =>
      message.epoch === epoch && (message.sequence === sequence || (offset > 0 && message.offset === offset))
    );
    if (row === undefined) return false;
    this.#follows = false;
    for (const { element } of this.#rows) element.classList.remove("pointed-at");
    row.element.classList.add("pointed-at");
    row.element.tabIndex = -1;
    row.element.scrollIntoView({ block: "center" });
    row.element.focus({ preventScroll: true });
    return true;
  }

  /** Says at the end that messages are missing whose number nobody knows. */
  addGap(): void {
    this.#options.list.append(createGap("Some messages are missing here: they are no longer kept"));
  }

  /** Only going up is leaving the newest message: the end may also have moved away by itself. */
  #noteScroll(): void {
    const { scroller, onNearEnd } = this.#options;
    const { scrollTop } = scroller;
    const isUp = scrollTop < this.#top;
    const isDown = scrollTop > this.#top;
    if (this.isAtEnd) this.#follows = true;
    else if (isUp) this.#follows = false;
    this.#top = scrollTop;
    if (isUp && scrollTop < AHEAD) void this.#loadOlder(false);
    if (isDown && scroller.scrollHeight - scrollTop - scroller.clientHeight < AHEAD) onNearEnd?.();
  }

  /** Removes messages, and says anew what stands between those that are left. */
  drop(isGone: IsGone): void {
    const gone = this.#rows.filter(({ message }) => isGone(message));
    if (gone.length === 0) return;
    for (const row of gone) this.#discard(row);
    const left = new Set(gone);
    this.#rows = this.#rows.filter((row) => !left.has(row));
    for (const [i, row] of this.#rows.entries()) {
      this.#markGap(i);
      row.element.classList.toggle("continued", this.#isContinued(row.message, this.#rows[i - 1]));
    }
    this.#markDays();
    this.#showOlder();
  }

  #discard(row: Row): void {
    releaseBytes(row.element);
    row.gap?.remove();
    row.day?.remove();
    row.element.remove();
    this.#byPosition.delete(positionOf(row.message));
  }

  #insert(message: ChannelMessage): void {
    const { epoch, offset } = message;
    const known = offset > 0 ? this.#byPosition.get(positionOf(message)) : undefined;
    if (known !== undefined) {
      // What came live is told neither its id nor its time.
      if (message.sequence > 0 || known.message.sequence === 0) this.#replace(known, message);
      return;
    }
    let index = this.#rows.length;
    // Almost always the last place; further up only while a hole is filled.
    for (let i = this.#rows.length - 1; offset > 0 && i >= 0; i--) {
      const other = this.#rows[i]!.message;
      if (other.offset === 0) continue;
      if (other.epoch !== epoch || other.offset < offset) break;
      index = i;
    }
    const row = this.#createRow(message, this.#rows[index - 1]);
    const next = this.#rows[index];
    this.#options.list.insertBefore(
      row.element,
      next === undefined ? null : next.day ?? next.gap ?? next.element,
    );
    this.#rows.splice(index, 0, row);
    this.#markGap(index);
    this.#markGapAfter(index);
  }

  #replace(row: Row, message: ChannelMessage): void {
    releaseBytes(row.element);
    const previous = this.#rows[this.#rows.indexOf(row) - 1];
    const element = this.#createElement(message, previous);
    row.element.replaceWith(element);
    row.message = message;
    row.element = element;
  }

  #createRow(message: ChannelMessage, previous: Row | undefined): Row {
    const row: Row = { message, element: this.#createElement(message, previous) };
    if (message.offset > 0) this.#byPosition.set(positionOf(message), row);
    return row;
  }

  #createElement(message: ChannelMessage, previous: Row | undefined): HTMLElement {
    const { isMine, decorate } = this.#options;
    const element = createMessageView(message, { isMine: isMine(message), showsChannel: false });
    decorate?.(element, message);
    element.classList.toggle("continued", this.#isContinued(message, previous));
    return element;
  }

  #isContinued(message: ChannelMessage, previous: Row | undefined): boolean {
    const { isMine } = this.#options;
    return previous !== undefined && isMine(message) === isMine(previous.message) &&
      continues(message, previous.message);
  }

  /** Puts a line above a row when offsets are missing before it, or takes it away when they are there. */
  #markGap(index: number): void {
    const row = this.#rows[index];
    if (row === undefined || row.message.offset === 0) return;
    const previous = this.#rows.slice(0, index).findLast(({ message }) => message.offset > 0);
    const text = previous && describeGap(
      previous.message,
      row.message,
      (offset) => this.#takenBack.has(`${row.message.epoch}:${offset}`),
    );
    row.gap?.remove();
    row.gap = text === undefined ? undefined : createGap(text);
    if (row.gap !== undefined && row.element.parentNode !== null) row.element.before(row.gap);
  }

  #markGapAfter(index: number): void {
    for (let i = index + 1; i < this.#rows.length; i++) {
      if (this.#rows[i]!.message.offset > 0) return this.#markGap(i);
    }
  }

  /** Puts a line wherever a day begins; above the first message only when it is not of today. */
  #markDays(): void {
    let previous = new Date().toDateString();
    for (const row of this.#rows) {
      const { time } = row.message;
      const day = time.toDateString();
      const text = day === previous ? undefined : formatDay(time);
      previous = day;
      const below = row.gap ?? row.element;
      if (
        row.day?.textContent === text && row.day?.nextSibling === (text === undefined ? undefined : below)
      ) continue;
      row.day?.remove();
      row.day = text === undefined ? undefined : createDay(text);
      if (row.day !== undefined) below.before(row.day);
    }
  }

  #trim(count: number): void {
    if (this.#rows.length <= count) return;
    for (const row of this.#rows.splice(0, this.#rows.length - count)) this.#discard(row);
    const first = this.#rows[0];
    first?.gap?.remove();
    if (first !== undefined) first.gap = undefined;
    this.#isExhausted = false;
  }

  #first(): ChannelMessage | undefined {
    return this.#rows.find(({ message }) => message.offset > 0)?.message;
  }

  /** Above the first message: the way to older ones, or that there are none. */
  #showOlder(): void {
    const { older, loadOlder } = this.#options;
    const first = this.#first();
    if (first === undefined || loadOlder === undefined || !this.#mayLoad) older.replaceChildren();
    else if (first.offset === 1) older.replaceChildren("This is where it began.");
    else if (this.#isExhausted) older.replaceChildren("Older messages are no longer kept.");
    else if (older.firstChild !== this.#button) older.replaceChildren(this.#button);
  }

  /** @param isAsked whether somebody pressed the button, who then tries again after an error, too */
  async #loadOlder(isAsked: boolean): Promise<void> {
    const { loadOlder, list, scroller } = this.#options;
    const first = this.#first();
    if (first === undefined || loadOlder === undefined || this.#isLoading) return;
    if (!this.#mayLoad || this.#isExhausted || first.offset === 1) return;
    if (this.#hasFailed && !isAsked) return;
    this.#isLoading = true;
    const hasFocus = document.activeElement === this.#button;
    // Not disabled, which would take the focus from it.
    this.#button.ariaBusy = "true";
    this.#button.textContent = "Loading older messages…";
    try {
      const page = await loadOlder(first.offset);
      this.#hasFailed = false;
      this.#button.textContent = "Show older messages";
      if (this.#first() !== first) return;
      const messages = page.messages.filter(({ epoch, offset }) =>
        epoch === first.epoch && offset < first.offset
      );
      this.#isExhausted = messages.length === 0 || !page.more;
      const height = scroller.scrollHeight;
      const newest = this.#rows;
      this.#rows = [];
      const fragment = document.createDocumentFragment();
      for (const message of messages) {
        const row = this.#createRow(message, this.#rows.at(-1));
        this.#rows.push(row);
        this.#markGap(this.#rows.length - 1);
        if (row.gap !== undefined) fragment.append(row.gap);
        fragment.append(row.element);
      }
      list.prepend(fragment);
      this.#rows.push(...newest);
      this.#markGapAfter(messages.length - 1);
      this.#markDays();
      this.#showOlder();
      // What was read stays where it is.
      scroller.scrollTop += scroller.scrollHeight - height;
      if (hasFocus && this.#button.parentNode === null) scroller.focus();
    } catch (error) {
      this.#hasFailed = true;
      this.#button.textContent = `Show older messages (${error instanceof Error ? error.message : error})`;
    } finally {
      this.#isLoading = false;
      this.#button.ariaBusy = null;
    }
  }
}

function positionOf({ epoch, offset }: ChannelMessage): string {
  return `${epoch}:${offset}`;
}
