/** The table of messages, the newest first: filtered, held back while it is paused, and bounded. */
import { releaseBytes } from "../bytes_view.ts";
import { type ChannelMessage, formatId, labelOf } from "../channel_message.ts";
import { createContent, formatExactTime, summarize } from "../message_view.ts";
import type { IsGone } from "../removal.ts";
import { toPath } from "./publish.ts";

/** Rows kept; older ones are still in their channels. */
const MAX_ROWS = 500;
/** Texts that are longer are folded. */
const LONG_CHARACTERS = 600;
const LONG_LINES = 9;
/** While nobody looks, messages are gathered for so long. */
const HIDDEN_PAUSE_MS = 1_000;

/** What stands above the table. */
export interface TableState {
  /** Messages in the table. */
  readonly shown: number;
  /** Of those, the ones that match the filter. */
  readonly matching: number;
  /** Messages that came since it was paused. */
  readonly waiting: number;
  readonly isPaused: boolean;
}

interface Row {
  readonly element: HTMLTableRowElement;
  /** Undefined for a gap. */
  readonly message: ChannelMessage | undefined;
  /** What the filter looks at, in lower case. */
  readonly text: string;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export class StreamTable {
  readonly #body: HTMLElement;
  readonly #onChange: (state: TableState) => void;
  /** The oldest first. */
  #rows: Row[] = [];
  /** What has come and is not shown yet; a gap is undefined. */
  #coming: (ChannelMessage | undefined)[] = [];
  #waiting = 0;
  #words: readonly string[] = [];
  #isPaused = false;
  #isScheduled = false;

  constructor(body: HTMLElement, onChange: (state: TableState) => void) {
    this.#body = body;
    this.#onChange = onChange;
  }

  /** Takes what has come, the oldest first. What comes within one frame costs one layout. */
  add(messages: readonly ChannelMessage[]): void {
    this.#take(messages);
  }

  /** Messages are missing here. */
  addGap(): void {
    this.#take([undefined]);
  }

  /** Takes away what was removed from its channel. */
  drop(isGone: IsGone): void {
    const isLeft = (message: ChannelMessage | undefined) => message === undefined || !isGone(message);
    const coming = this.#coming.filter(isLeft);
    if (this.#isPaused) this.#waiting -= this.#coming.length - coming.length;
    this.#coming = coming;
    this.#keep(this.#rows.filter(({ message }) => isLeft(message)));
  }

  /** Shows only rows that have every word of a text in their channel, event, sender or data. */
  filter(text: string): void {
    this.#words = text.toLowerCase().split(/\s+/).filter((word) => word !== "");
    for (const row of this.#rows) row.element.hidden = !this.#matches(row);
    this.#report();
  }

  /** Holds back what comes, or shows what was held back. */
  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#waiting = 0;
    if (isPaused) this.#report();
    else this.#flush();
  }

  /** Empties the table; the channels keep what they have. */
  clear(): void {
    this.#coming = [];
    this.#waiting = 0;
    this.#keep([]);
  }

  #take(messages: readonly (ChannelMessage | undefined)[]): void {
    this.#coming.push(...messages);
    // More would not be shown.
    this.#coming = this.#coming.slice(-MAX_ROWS);
    if (this.#isPaused) {
      this.#waiting += messages.filter((message) => message !== undefined).length;
      return this.#report();
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    if (document.hidden) setTimeout(() => this.#flush(), HIDDEN_PAUSE_MS);
    else requestAnimationFrame(() => this.#flush());
  }

  #flush(): void {
    this.#isScheduled = false;
    if (this.#isPaused) return;
    const rows = this.#coming.map(createRow);
    this.#coming = [];
    for (const row of rows) row.element.hidden = !this.#matches(row);
    this.#body.prepend(...rows.map(({ element }) => element).reverse());
    this.#keep([...this.#rows, ...rows].slice(-MAX_ROWS));
  }

  /** Keeps these rows and removes all others. */
  #keep(rows: Row[]): void {
    const kept = new Set(rows);
    for (const row of this.#rows) {
      if (kept.has(row)) continue;
      releaseBytes(row.element);
      row.element.remove();
    }
    this.#rows = rows;
    this.#report();
  }

  #matches({ message, text }: Row): boolean {
    return message === undefined || this.#words.every((word) => text.includes(word));
  }

  #report(): void {
    const rows = this.#rows.filter(({ message }) => message !== undefined);
    this.#onChange({
      shown: rows.length,
      matching: rows.filter((row) => this.#matches(row)).length,
      waiting: this.#waiting,
      isPaused: this.#isPaused,
    });
  }
}

function createRow(message: ChannelMessage | undefined): Row {
  const element = document.createElement("tr");
  element.role = "row";
  if (message === undefined) {
    const cell = createCell("gap-cell", "Some messages are gone.");
    cell.colSpan = 4;
    element.append(cell);
    return { element, message, text: "" };
  }
  const { channel, event, time, author } = message;
  const link = document.createElement("a");
  link.href = toPath(channel);
  link.textContent = `/${channel}`;
  element.append(
    createCell("when", createClock(message)),
    createCell("where", link),
    createCell("event-cell", event ?? ""),
    createData(message),
  );
  element.title = formatExactTime(time);
  const who = author && labelOf(author);
  if (who !== undefined) {
    const label = document.createElement("bdi");
    label.className = "by";
    label.textContent = who;
    element.lastElementChild!.prepend(label);
  }
  const text = [channel, event, who, summarize(message)].join("\n").toLowerCase();
  return { element, message, text };
}

/** What was said, folded where it is long. */
function createData(message: ChannelMessage): HTMLTableCellElement {
  const content = createContent(message);
  const cell = createCell("data", content);
  const text = typeof message.data === "string" ? message.data : "";
  if (text.length < LONG_CHARACTERS && text.split("\n").length < LONG_LINES) return cell;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet unfold";
  const fold = (isFolded: boolean) => {
    content.classList.toggle("folded", isFolded);
    button.ariaExpanded = String(!isFolded);
    button.textContent = isFolded ? "Show all" : "Show less";
  };
  button.onclick = () => fold(button.ariaExpanded === "true");
  fold(true);
  cell.append(button);
  return cell;
}

/** The time, which leads to the message in its channel where it is stored. */
function createClock(message: ChannelMessage): HTMLElement {
  const clock = document.createElement("time");
  clock.dateTime = message.time.toISOString();
  clock.textContent = CLOCK.format(message.time);
  const id = formatId(message);
  if (id === undefined || message.offset === 0) return clock;
  const link = document.createElement("a");
  link.href = `${toPath(message.channel)}#${id}`;
  link.append(clock);
  return link;
}

function createCell(className: string, content: string | Node): HTMLTableCellElement {
  const cell = document.createElement("td");
  cell.role = "cell";
  cell.className = className;
  cell.append(content);
  return cell;
}
