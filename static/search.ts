/**
 * The search panel: finds stored messages by text, event and sender, leads to what was found and to a time, and saves the
 * history as a file. The channel page opens it.
 */
import type { ChangeWatch } from "./change_watch.ts";
import { type ChannelMessage, formatId } from "./channel_message.ts";
import { fetchPage, readRefusal } from "./history.ts";
import { createMessageView } from "./message_view.ts";
import type { IsGone } from "./removal.ts";
import { authorization } from "./token.ts";

const RESULTS = 50;

export interface SearchOptions {
  readonly button: HTMLButtonElement;
  readonly panel: HTMLElement;
  readonly path: string;
  readonly isSingle: boolean;
  /** Is told of all that is removed. */
  readonly watch: ChangeWatch;
  readonly isMine: (message: ChannelMessage) => boolean;
  readonly toMessage: (id: string) => Promise<void>;
  readonly toTime: (time: Date) => Promise<void>;
}

/** The panel, to its page. */
export interface Search {
  /** Takes away what was removed. */
  drop(isGone: IsGone): void;
}

/** Makes the button open the panel, and opens it where the address asks for a search. */
export function openSearch(options: SearchOptions): Search {
  const { button, panel, isSingle, watch } = options;
  const form = panel.querySelector<HTMLFormElement>("form")!;
  const found = panel.querySelector<HTMLOListElement>("ol")!;
  const status = panel.querySelector<HTMLElement>("[role=status]")!;
  const more = panel.querySelector<HTMLButtonElement>(".further")!;
  const jump = panel.querySelector<HTMLFormElement>("#jump")!;
  jump.hidden = !isSingle;
  let shown: { readonly message: ChannelMessage; readonly element: HTMLElement }[] = [];
  let request = 0;
  let goOn: Readonly<Record<string, string | number>> | undefined;

  const setOpen = (isOpen: boolean) => {
    panel.hidden = !isOpen;
    button.ariaExpanded = String(isOpen);
    if (isOpen) form.querySelector<HTMLInputElement>("[name=q]")!.focus();
  };
  const readFilter = () => {
    const entries = [...new FormData(form)].filter(([, value]) => value !== "");
    return Object.fromEntries(entries) as Record<string, string>;
  };
  const clear = () => {
    found.replaceChildren();
    shown = [];
  };
  const showCount = () => {
    const count = shown.length;
    status.textContent = count === 0
      ? goOn === undefined ? "Nothing found." : "Nothing found so far."
      : count === 1
      ? "1 message found"
      : `${count.toLocaleString()} messages found`;
  };
  const search = async (further: Readonly<Record<string, string | number>>) => {
    const number = ++request;
    const filter = readFilter();
    more.hidden = true;
    if (Object.keys(filter).length === 0) {
      clear();
      status.textContent = "";
      return;
    }
    status.textContent = "Searching…";
    try {
      const page = await watch.during(async (changes) => {
        const page = await fetchPage(options.path, { ...filter, ...further, limit: RESULTS });
        return { ...page, messages: changes.left(page.messages) };
      });
      if (number !== request) return;
      if (Object.keys(further).length === 0) clear();
      // The newest first where the newest were looked for.
      const messages = isSingle ? page.messages.toReversed() : page.messages;
      const results = messages.map((message) => ({
        message,
        element: createResult(message, options, () => setOpen(false)),
      }));
      found.append(...results.map(({ element }) => element));
      shown.push(...results);
      goOn = !page.more
        ? undefined
        : page.before === undefined
        ? { since: page.next }
        : { before: page.before };
      more.hidden = goOn === undefined;
      showCount();
    } catch (error) {
      if (number === request) status.textContent = error instanceof Error ? error.message : String(error);
    }
  };
  button.onclick = () => setOpen(panel.hidden !== false);
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    setOpen(false);
    button.focus();
  });
  panel.querySelector<HTMLButtonElement>(".close")!.onclick = () => {
    setOpen(false);
    button.focus();
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    void search({});
  };
  more.onclick = () => void search(goOn ?? {});
  jump.onsubmit = (event) => {
    event.preventDefault();
    const time = new Date(jump.querySelector("input")!.value);
    if (Number.isNaN(time.getTime())) return;
    setOpen(false);
    void options.toTime(time);
  };
  for (const link of panel.querySelectorAll<HTMLButtonElement>("[data-export]")) {
    link.onclick = () => void save(link.dataset.export ?? "", readFilter(), options.path, status);
  }

  const asked = new URLSearchParams(location.search);
  const names = ["q", "event", "from"].filter((name) => asked.get(name));
  for (const name of names) form.querySelector<HTMLInputElement>(`[name=${name}]`)!.value = asked.get(name)!;
  if (names.length > 0) {
    setOpen(true);
    void search({});
  }
  return {
    drop(isGone) {
      const gone = shown.filter(({ message }) => isGone(message));
      if (gone.length === 0) return;
      for (const { element } of gone) element.remove();
      shown = shown.filter((result) => !gone.includes(result));
      showCount();
    },
  };
}

/** A message that was found, with the way to where it was said. */
function createResult(message: ChannelMessage, options: SearchOptions, onLeave: () => void): HTMLElement {
  const { isSingle, isMine, toMessage } = options;
  const item = createMessageView(message, { isMine: isMine(message), showsChannel: !isSingle });
  const id = formatId(message);
  if (isSingle && id !== undefined) {
    const link = document.createElement("a");
    link.href = `#${id}`;
    link.className = "in-place";
    link.textContent = "Show in place";
    link.onclick = (event) => {
      event.preventDefault();
      onLeave();
      history.replaceState(null, "", `#${id}`);
      void toMessage(id);
    };
    item.querySelector(".head")!.append(link);
  }
  return item;
}

/** Saves what is stored as a file. It is fetched, as a link could carry no credentials. */
async function save(
  format: string,
  filter: Readonly<Record<string, string>>,
  path: string,
  status: HTMLElement,
): Promise<void> {
  status.textContent = "Exporting…";
  try {
    const response = await fetch(`${path}?${new URLSearchParams({ ...filter, export: format })}`, {
      headers: authorization(),
    });
    if (!response.ok) throw await readRefusal(response);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ??
      `messages.${format}`;
    link.click();
    // The browser has begun to save it by then.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    status.textContent = `Saved as ${link.download}`;
  } catch (error) {
    status.textContent = error instanceof Error ? error.message : String(error);
  }
}
