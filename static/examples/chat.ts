/** The chat example: what one page sends, all others get, on the channel /chat. Loaded by chat.html. */
import { LiveSocket } from "../live_socket.ts";

const name = new URLSearchParams(location.search).get("name")?.trim() ?? "";
const list = document.querySelector<HTMLElement>("#messages")!;
const composer = document.querySelector<HTMLFormElement>("#composer")!;
const box = document.querySelector<HTMLInputElement>("#box")!;
const state = document.querySelector<HTMLElement>("#state")!;

document.querySelector<HTMLInputElement>("input[name=name]")!.value = name;

const path = name === "" ? "/chat" : `/chat?name=${encodeURIComponent(name)}`;
const socket = new LiveSocket(path, state, {
  onMessage: (data) => show(typeof data === "string" ? data : `(${data.byteLength} bytes)`, "message"),
});

composer.onsubmit = (event) => {
  event.preventDefault();
  const text = box.value;
  // A message is nothing but its text, so a name has to stand in it. The server's commands stay as they are.
  const signed = name === "" || text.startsWith("/") ? text : `${name}: ${text}`;
  if (text === "" || !socket.send(signed)) return;
  show(text, "message mine");
  box.value = "";
};

function show(text: string, className: string): void {
  const item = document.createElement("li");
  item.className = className;
  const body = document.createElement("p");
  body.dir = "auto";
  body.textContent = text;
  item.append(body);
  list.append(item);
  if (list.childElementCount > 500) list.firstElementChild?.remove();
  list.scrollTop = list.scrollHeight;
}
