/** The raindrops example: every message of a channel falls down the page. Loaded by raindrops.html. */
import { quoteForShell, showCommands } from "../command.ts";
import { LiveSocket } from "../live_socket.ts";

const query = new URLSearchParams(location.search);
const channel = query.get("channel") ?? "";
const id = query.get("id");
const pool = document.querySelector<HTMLElement>("#raindrops")!;
const state = document.querySelector<HTMLElement>("#state")!;
let count = 0;

const path = `/${encodeURI(channel).replaceAll("#", "%23").replaceAll("?", "%3F")}`;
document.querySelector("code.command")!.textContent = id === null
  ? `curl -d 'it rains' ${quoteForShell(location.origin + path)}`
  : `curl -d 'only you' ${quoteForShell(`${location.origin}/@${id}`)}`;
showCommands();

new LiveSocket(id === null ? path : `${path}?id=${encodeURIComponent(id)}`, state, {
  onMessage: (data) => letFall(typeof data === "string" ? data : `(${data.byteLength} bytes)`),
});

/** Drops fall into the slots of a grid and fill the pool row by row from the bottom up. */
function letFall(text: string): void {
  // An odd number, so that steps of two reach every column: neighbours in time do not lie side by side.
  const columns = Math.floor(pool.clientWidth / 220) | 1;
  const rows = Math.max(1, Math.floor(pool.clientHeight / 90));
  const slot = count++ % (columns * rows);
  const column = 2 * slot % columns;
  const row = Math.floor(slot / columns);
  const [left, bottom] = [column + 0.02 + 0.2 * Math.random(), row * 90 + 20 + 15 * Math.random()];

  const drop = document.createElement("div");
  drop.className = "raindrop";
  drop.dir = "auto";
  drop.textContent = text;
  drop.style.maxWidth = `${76 / columns}%`;
  drop.style.left = `${left * 100 / columns}%`;
  drop.style.bottom = `${bottom}px`;
  pool.append(drop);
  if (pool.childElementCount > columns * rows) pool.firstElementChild?.remove();
}
