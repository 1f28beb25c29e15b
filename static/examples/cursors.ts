/** The cursors example: everyone's pointer on everyone's page, by the channel /cursors. Loaded by cursors.html. */
import { PerfectCursor } from "perfect-cursors";
import { LiveSocket, readJson } from "../live_socket.ts";

const find = (selector: string) => document.querySelector<HTMLElement>(selector)!;
const area = find("#area");
const ownId = crypto.randomUUID();
const ownName = new URLSearchParams(location.search).get("name")?.trim() ?? "";
const others = new Map<string, { element: HTMLElement; path: PerfectCursor; seen: number }>();

if (ownName !== "") join();

function join(): void {
  const path = `/cursors?name=${encodeURIComponent(ownName)}`;
  const socket = new LiveSocket(path, find("#state"), { onMessage: receive });
  const element = drawCursor(ownId, ownName, "cursor own-cursor");
  let own: { x: number; y: number } | undefined, timer: number | undefined;

  // Without a position it says that this cursor has left.
  const send = () => socket.send(JSON.stringify({ id: ownId, name: ownName, ...own }));
  const leave = () => (own = undefined, send());
  const move = (x: number, y: number) => {
    own = { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
    element.style.translate = `${own.x * innerWidth}px ${own.y * innerHeight}px`;
    // At most 20 positions a second, and always the last one.
    timer ??= setTimeout(() => (timer = undefined, send()), 50);
  };

  find("#ask").hidden = true;
  find("#who").textContent = `You are ${ownName}. Move about!`;
  area.hidden = false;
  area.onfocus = () => move(own?.x ?? 0.5, own?.y ?? 0.5);
  area.onkeydown = (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    move((own?.x ?? 0.5) + step[0]! / 50, (own?.y ?? 0.5) + step[1]! / 50);
  };
  addEventListener("pointermove", (event) => move(event.clientX / innerWidth, event.clientY / innerHeight));
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => document.hidden && leave());
  document.documentElement.addEventListener("pointerleave", leave);
  setInterval(() => own && send(), 1000);
  setInterval(() => others.forEach(({ seen }, id) => Date.now() - seen > 3000 && forget(id)), 250);
}

function receive(data: string | ArrayBuffer): void {
  const { id, name, x, y } = readJson(data);
  if (typeof id !== "string" || typeof name !== "string") return;
  if (typeof x !== "number" || typeof y !== "number") return forget(id);
  // A hidden page draws nothing: shown again, it would have to catch up on every movement it missed.
  if (document.hidden || (others.size >= 200 && !others.has(id))) return;
  const other = others.get(id) ?? addOther(id, name);
  other.seen = Date.now();
  other.path.addPoint([x * innerWidth, y * innerHeight]);
}

function addOther(id: string, name: string) {
  const element = drawCursor(id, name, "cursor");
  const path = new PerfectCursor(([x, y]) => element.style.translate = `${x}px ${y}px`);
  const other = { element, path, seen: 0 };
  others.set(id, other);
  return other;
}

function drawCursor(id: string, name: string, className: string): HTMLElement {
  const element = Object.assign(document.createElement("div"), { className });
  const hue = [...id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 0);
  element.style.setProperty("--hue", String(hue));
  element.append(Object.assign(document.createElement("span"), { textContent: name }));
  document.body.append(element);
  return element;
}

function forget(id: string): void {
  others.get(id)?.path.dispose();
  others.get(id)?.element.remove();
  others.delete(id);
}
