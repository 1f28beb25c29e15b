/** The Hello example: what you submit goes to the channel /hello, and Hello is answered. Loaded by hello.html. */
import { LiveSocket } from "../live_socket.ts";

const form = document.querySelector<HTMLFormElement>("#form")!;
const box = document.querySelector<HTMLInputElement>("#box")!;
const log = document.querySelector<HTMLElement>("#log")!;
const state = document.querySelector<HTMLElement>("#state")!;

const socket = new LiveSocket("/hello", state, {
  onMessage: (data) => write(`Received: ${typeof data === "string" ? data : `(${data.byteLength} bytes)`}`),
  onClose: (code) => write(`Disconnected: ${code}`),
  onError: () => write("Error"),
});

form.onsubmit = (event) => {
  event.preventDefault();
  const text = box.value || box.placeholder;
  if (!socket.send(text)) return;
  write(`Sent: ${text}`);
  box.value = "";
};

function write(line: string): void {
  const item = document.createElement("li");
  item.textContent = line;
  log.append(item);
  if (log.childElementCount > 500) log.firstElementChild?.remove();
  log.scrollTop = log.scrollHeight;
}
