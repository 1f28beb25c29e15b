/** One channel as a conversation: its history, then what arrives, and a box to write in. Home and channel page. */
import { LiveSocket } from "./live_socket.ts";

interface HistoryMessage {
  data: unknown;
  time: string;
  event?: string;
  from?: { id: string; name?: string };
}

interface History {
  next: string;
  messages: HistoryMessage[];
}

interface ShownMessage {
  text: string;
  time: Date;
  author?: string | undefined;
  mine?: boolean;
}

const MAX_SHOWN = 1000;

/** Fills `#messages`, `#composer` and `#state` of this page with the conversation on a channel's path. */
export function openConversation(path: string, name: string): void {
  const list = document.querySelector<HTMLElement>("#messages")!;
  const composer = document.querySelector<HTMLFormElement>("#composer")!;
  const box = composer.querySelector("input")!;
  const ownId = crypto.randomUUID();

  const prepare = async () => {
    const history = await fetchHistory(path);
    list.replaceChildren();
    for (const message of history.messages) {
      show(list, {
        text: describeData(message.data),
        time: new Date(message.time),
        author: [message.from?.name, message.event].filter(Boolean).join(" · "),
        mine: message.from?.id === ownId,
      });
    }
    // `since` makes the socket start where the history ended: nothing is lost or doubled in between.
    const query = new URLSearchParams({ id: ownId, since: history.next });
    if (name !== "") query.set("name", name);
    return `${path}?${query}`;
  };
  const socket = new LiveSocket(prepare, document.querySelector<HTMLElement>("#state")!, {
    onMessage: (data) => show(list, { text: describeData(data), time: new Date() }),
  });

  composer.onsubmit = (event) => {
    event.preventDefault();
    if (box.value === "" || !socket.send(box.value)) return;
    show(list, { text: box.value, time: new Date(), mine: true });
    box.value = "";
  };
}

async function fetchHistory(path: string): Promise<History> {
  const response = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store" });
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail ?? response.statusText);
  return body;
}

/** A message's data as text to show: JSON as its text, bytes as their count. */
function describeData(data: unknown): string {
  if (typeof data === "string") return data;
  if (data instanceof ArrayBuffer) return `(${data.byteLength} bytes)`;
  const json = JSON.stringify(data);
  const base64 = /^\{"base64":"([A-Za-z0-9+/]*)=*"\}$/.exec(json)?.[1];
  return base64 === undefined ? json : `(${Math.floor(base64.length * 3 / 4)} bytes)`;
}

function show(list: HTMLElement, { text, time, author = "", mine = false }: ShownMessage): void {
  const item = document.createElement("li");
  item.className = mine ? "message mine" : "message";
  const body = document.createElement("p");
  body.dir = "auto";
  body.textContent = text;
  const foot = document.createElement("footer");
  const clock = document.createElement("time");
  clock.dateTime = time.toISOString();
  clock.textContent = formatTime(time);
  const who = document.createElement("bdi");
  who.textContent = mine ? "you" : author;
  foot.append(who, clock);
  item.append(body, foot);

  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(item);
  if (list.childElementCount > MAX_SHOWN) list.firstElementChild?.remove();
  // Whoever scrolled up to read is left there.
  if (atEnd || mine) list.scrollTop = list.scrollHeight;
}

function formatTime(time: Date): string {
  const today = time.toDateString() === new Date().toDateString();
  return time.toLocaleString(undefined, { timeStyle: "short", ...(today ? {} : { dateStyle: "medium" }) });
}
