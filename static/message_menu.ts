/**
 * The menu of a message: copy it, see it as it is stored, link to it, and for operators remove it. The channel page opens it
 * for all messages of its list.
 */
import { type ChannelMessage, formatId, type MessageJson } from "./channel_message.ts";
import { takesCredential } from "./credential.ts";
import { fetchRaw, readRefusal } from "./history.ts";
import { summarize } from "./message_view.ts";
import { authorization, isKeyLike } from "./token.ts";

export interface MessageMenuOptions {
  readonly menu: HTMLElement;
  readonly raw: HTMLDialogElement;
  readonly removal: HTMLDialogElement;
  /** Of the list that holds the messages. */
  readonly list: HTMLElement;
  /** Says what was done, or why it was not. */
  readonly onNotice: (text: string) => void;
}

/** Opens the menu; answers what puts a button for it into the item of a message. */
export function openMessageMenu(
  options: MessageMenuOptions,
): (item: HTMLElement, message: ChannelMessage) => void {
  const { menu, list } = options;
  let opened: { readonly message: ChannelMessage; readonly button: HTMLButtonElement } | undefined;
  const items = [...menu.querySelectorAll<HTMLButtonElement>("button")];
  const close = () => {
    menu.hidePopover();
    opened?.button.focus();
  };
  const open = (button: HTMLButtonElement, message: ChannelMessage) => {
    opened = { message, button };
    const isStored = message.offset > 0 || message.sequence > 0;
    for (const item of items) {
      const action = item.dataset.action;
      item.hidden = (action !== "copy" && !isStored) || (action === "remove" && !mayRemove());
    }
    menu.showPopover();
    place(menu, button);
    button.ariaExpanded = "true";
    items.find(({ hidden }) => !hidden)?.focus();
  };
  menu.addEventListener("toggle", (event) => {
    if ((event as ToggleEvent).newState === "closed" && opened) opened.button.ariaExpanded = "false";
  });
  menu.addEventListener("keydown", (event) => moveFocus(event, items.filter(({ hidden }) => !hidden)));
  for (const item of items) {
    item.onclick = () => {
      if (opened === undefined) return;
      const { message } = opened;
      close();
      void act(item.dataset.action ?? "", message, options);
    };
  }
  // One of the buttons is in the order of the Tab key; the arrows lead to the others.
  const buttons = () => [...list.querySelectorAll<HTMLButtonElement>(".menu-button")];
  list.addEventListener("keydown", (event) => {
    if (event.target instanceof HTMLElement && event.target.matches(".menu-button")) {
      moveFocus(event, buttons());
    }
  });
  list.addEventListener("focusin", ({ target }) => {
    if (target instanceof HTMLElement && target.matches(".menu-button")) setTabStop(buttons(), target);
  });
  new MutationObserver(() => {
    const all = buttons();
    if (!all.some((button) => button.tabIndex === 0)) setTabStop(all, all.at(-1));
    else if (document.activeElement?.matches(".menu-button") !== true) setTabStop(all, all.at(-1));
  }).observe(list, { childList: true });

  return (item, message) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "menu-button";
    button.tabIndex = -1;
    button.ariaLabel = `More about: ${summarize(message).slice(0, 60)}`;
    button.ariaHasPopup = "menu";
    button.ariaExpanded = "false";
    button.textContent = "⋯";
    button.onclick = () => open(button, message);
    // Before the content, which is last; in the order of reading it follows the head.
    item.lastElementChild?.before(button);
  };
}

function setTabStop(buttons: readonly HTMLButtonElement[], chosen: Element | undefined): void {
  for (const button of buttons) button.tabIndex = button === chosen ? 0 : -1;
}

function moveFocus(event: KeyboardEvent, items: readonly HTMLElement[]): void {
  const at = items.indexOf(document.activeElement as HTMLElement);
  const to = event.key === "ArrowDown"
    ? at + 1
    : event.key === "ArrowUp"
    ? at - 1
    : event.key === "Home"
    ? 0
    : event.key === "End"
    ? items.length - 1
    : undefined;
  if (to === undefined) return;
  event.preventDefault();
  items[Math.max(0, Math.min(to, items.length - 1))]?.focus();
}

/** Below the button where there is room, and never beyond the window. */
function place(menu: HTMLElement, button: HTMLElement): void {
  const { left, right, top, bottom } = button.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const x = left + width > innerWidth - 8 ? right - width : left;
  const y = bottom + height > innerHeight - 8 ? top - height : bottom;
  menu.style.left = `${Math.max(8, x)}px`;
  menu.style.top = `${Math.max(8, y)}px`;
}

/** Removing is for operators: whoever comes to an open server, and whoever has an API key. */
function mayRemove(): boolean {
  return !takesCredential || isKeyLike();
}

async function act(action: string, message: ChannelMessage, options: MessageMenuOptions): Promise<void> {
  const { onNotice } = options;
  try {
    if (action === "copy") return await copy(textOf(message), "Copied", options);
    const json = await fetchRaw(pathOf(message), message);
    if (json === undefined) return onNotice("This message is not kept any more.");
    const known = { ...message, ...split(json) };
    if (action === "link") {
      const link = `${location.origin}${pathOf(message)}#${formatId(known)}`;
      // The address of a pattern's page is not that of the message.
      if (location.pathname === pathOf(message)) history.replaceState(null, "", `#${formatId(known)}`);
      await copy(link, "Link copied", options);
    } else if (action === "raw") showRaw(json, options);
    else if (action === "remove") askToRemove(json, options);
  } catch (error) {
    onNotice(error instanceof Error ? error.message : String(error));
  }
}

function split({ id = "" }: MessageJson): { epoch: string; sequence: number } {
  const [epoch = "", sequence = 0] = id.split("-");
  return { epoch, sequence: Number(sequence) };
}

function textOf({ data }: ChannelMessage): string {
  return typeof data === "string" ? data : JSON.stringify(data, null, 2) ?? "";
}

function pathOf({ channel }: ChannelMessage): string {
  return channel === "lobby"
    ? "/"
    : `/${encodeURI(channel).replaceAll("#", "%23").replaceAll("?", "%3F").replaceAll(",", "%2C")}`;
}

async function copy(text: string, done: string, options: MessageMenuOptions): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    options.onNotice(done);
  } catch {
    // Without a clipboard, as on plain http of another machine, the text is there to be copied by hand.
    showText(text, options);
  }
}

function showRaw(json: MessageJson, options: MessageMenuOptions): void {
  showText(JSON.stringify(json, null, 2), options);
}

function showText(text: string, { raw }: MessageMenuOptions): void {
  const place = raw.querySelector("pre")!;
  place.textContent = text;
  raw.showModal();
}

function askToRemove(json: MessageJson, { removal, onNotice }: MessageMenuOptions): void {
  removal.querySelector("blockquote")!.textContent = summarize(json).slice(0, 300);
  removal.showModal();
  removal.onclose = () => {
    if (removal.returnValue === "remove") {
      remove(json).then(
        onNotice,
        (error) => onNotice(error instanceof Error ? error.message : String(error)),
      );
    }
    removal.returnValue = "";
  };
}

async function remove({ channel, id = "" }: MessageJson): Promise<string> {
  const path = pathOf({ channel } as ChannelMessage);
  const response = await fetch(`${path}?${new URLSearchParams({ id })}`, {
    method: "DELETE",
    headers: { accept: "application/json", ...authorization() },
  });
  if (!response.ok) throw await readRefusal(response);
  await response.body?.cancel();
  return "Removed";
}
