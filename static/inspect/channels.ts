/** The table of channels: filtered, sorted and paged by the server, renewed every two seconds. */
import { createReader, repeat } from "./connection.ts";
import { create, createRowButton, find, Rows, setText } from "./elements.ts";
import { formatAge, formatCount, formatShort } from "./format.ts";

/** A message as the inspector gets it: cut when it is long. */
export interface ShownMessage {
  readonly time: number;
  readonly offset: number;
  readonly event?: string;
  readonly from?: string;
  readonly kind: "text" | "json" | "bytes";
  readonly text: string;
  readonly size: number;
}

interface ChannelRow {
  readonly channel: string;
  readonly subscribers: number;
  readonly rate: number;
  readonly stored?: number;
  readonly last?: ShownMessage;
}

const PAGE_ROWS = 10;
const RENEW_MILLISECONDS = 2_000;
const TYPING_MILLISECONDS = 200;

/** The table, to its neighbours. */
export interface ChannelTable {
  /** Marks the channel that is looked into. */
  mark(channel: string | undefined): void;
  /** Puts the focus on the row of a channel, or where channels are looked for if it has none. */
  focus(channel: string | undefined): void;
}

/** Opens the table. */
export function openChannels(onChoose: (channel: string) => void): ChannelTable {
  const filter = find<HTMLInputElement>("channel-filter");
  const [back, on] = [find<HTMLButtonElement>("channels-back"), find<HTMLButtonElement>("channels-on")];
  const heads = [...find("channel-heads").querySelectorAll<HTMLElement>("[data-sort]")];
  const open = find<HTMLButtonElement>("channel-open");
  const typed = () => filter.value.trim().replaceAll(/^\/+|\/+$/g, "");
  let [sort, descending, offset] = ["rate", true, 0];
  let marked: string | undefined;

  const rows = new Rows<ChannelRow>(
    find("channel-rows"),
    ({ channel }) => channel,
    ({ channel }) => {
      const button = createRowButton(channel, () => onChoose(channel));
      button.dataset.channel = channel;
      const head = create("th", "", button);
      head.scope = "row";
      return [head, ...["number", "number", "number", "last"].map((name) => create("td", name))];
    },
    ({ subscribers, rate, stored, last }, [, ...cells]) => {
      const texts = [formatCount(subscribers), rate === 0 ? "0" : formatShort(rate)];
      texts.push(stored === undefined ? "–" : formatCount(stored));
      texts.push(last === undefined ? "" : `${describe(last)} · ${formatAge(last.time)} ago`);
      cells.forEach((cell, i) => setText(cell, texts[i] ?? ""));
    },
  );

  const read = createReader<{ rows: ChannelRow[]; total: number }>("channels");
  const renew = async () => {
    const order = descending ? "descending" : "ascending";
    const query = { filter: typed(), sort, order, offset: String(offset), limit: String(PAGE_ROWS) };
    const page = await read(query);
    if (page === undefined) return;
    if (page.rows.length === 0 && offset > 0) {
      offset = Math.max(0, Math.floor((page.total - 1) / PAGE_ROWS) * PAGE_ROWS);
      return await renew();
    }
    rows.show(page.rows, filter.value === "" ? "No channels yet." : "No channel has that in its name.");
    rows.mark(marked);
    // A channel need not be there to be published to.
    open.hidden = typed() === "" || /[*,]/.test(typed()) ||
      page.rows.some(({ channel }) => channel === typed());
    setText(open, `Open ${typed()}`);
    const shown = `${formatCount(offset + 1)} to ${formatCount(offset + page.rows.length)}`;
    setText(find("channel-count"), page.total === 0 ? "" : `${shown} of ${formatCount(page.total)}`);
    back.disabled = offset === 0;
    on.disabled = offset + page.rows.length >= page.total;
  };
  const change = () => void renew().catch(() => {});
  const move = (pages: number) => {
    offset = Math.max(0, offset + pages * PAGE_ROWS);
    change();
  };
  const showOrder = () => {
    for (const head of heads) {
      head.ariaSort = head.dataset.sort !== sort ? "none" : descending ? "descending" : "ascending";
    }
  };

  for (const head of heads) {
    head.querySelector("button")!.onclick = () => {
      descending = sort === head.dataset.sort ? !descending : head.dataset.sort !== "channel";
      sort = head.dataset.sort!;
      offset = 0;
      showOrder();
      change();
    };
  }
  let typing = 0;
  filter.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      offset = 0;
      change();
    }, TYPING_MILLISECONDS);
  };
  open.onclick = () => onChoose(typed());
  back.onclick = () => move(-1);
  on.onclick = () => move(1);
  showOrder();
  repeat(RENEW_MILLISECONDS, renew);
  return {
    mark(channel) {
      marked = channel;
      rows.mark(channel);
    },
    focus(channel) {
      const buttons = [...find("channel-rows").querySelectorAll("button")];
      (buttons.find(({ dataset }) => dataset.channel === channel) ?? filter).focus();
    },
  };
}

/** A message in one line. */
export function describe({ kind, text, size, event }: ShownMessage): string {
  const content = kind === "bytes" ? `${formatCount(size)} bytes` : text;
  return event === undefined ? content : `${event}: ${content}`;
}
