/** Shows under a conversation what is still on its way, and what the server did not take. Conversations fill it. */
import { createText } from "./text_view.ts";
import type { Entry, Outbox } from "./outbox.ts";

/** Fills a list with the entries that are not hidden. */
export function showOutbox(
  list: HTMLElement,
  outbox: Outbox,
  hidden: ReadonlySet<string>,
  isLive: boolean,
): void {
  const entries = outbox.list().filter(({ key }) => !hidden.has(key));
  const items = entries.map((entry) => createItem(entry, outbox, isLive));
  // Left alone while nothing changed, so that focus and screen readers are not disturbed.
  const isSame = items.length === list.childElementCount &&
    items.every((item, i) => item.isEqualNode(list.children[i]!));
  if (!isSame) list.replaceChildren(...items);
}

function createItem(entry: Entry, outbox: Outbox, isLive: boolean): HTMLElement {
  const item = document.createElement("li");
  item.className = entry.problem === undefined ? "message mine waiting" : "message mine refused";
  const foot = document.createElement("div");
  foot.className = "head";
  if (entry.problem === undefined) {
    foot.textContent = isLive ? "Sending…" : "Waits for the connection";
  } else {
    const reason = document.createElement("span");
    reason.textContent = entry.problem;
    foot.append(
      reason,
      createButton("Try again", () => outbox.repeat(entry)),
      createButton("Discard", () => outbox.discard(entry)),
    );
  }
  item.append(createText(entry.text), foot);
  return item;
}

function createButton(text: string, onClick: () => void): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = text;
  button.onclick = onClick;
  return button;
}
