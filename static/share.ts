/** The Share dialog: this channel's address, commands and snippets to copy, and its QR code. The channel page opens it. */
import { curlCredential } from "./credential.ts";
import { fillCommand, quoteForShell } from "./command.ts";

/** @param path the channel's path as it stands in the URL */
export function openShare(
  button: HTMLButtonElement,
  dialog: HTMLDialogElement,
  path: string,
  isSingle: boolean,
): void {
  const url = location.origin + path;
  const socket = url.replace("http", "ws");
  const texts: Readonly<Record<string, string>> = {
    "share-url": url,
    "share-curl": isSingle
      ? `curl ${curlCredential}-d 'it rains' ${quoteForShell(url)}`
      : `curl ${curlCredential}-N ${quoteForShell(`${url}?follow`)}`,
    "share-socket": `const socket = new WebSocket(${JSON.stringify(socket)});\n` +
      "socket.onmessage = ({ data }) => console.log(data);",
    "share-events": `const events = new EventSource(${JSON.stringify(url)});\n` +
      "events.onmessage = ({ data }) => console.log(data);",
  };
  for (const [id, text] of Object.entries(texts)) {
    fillCommand(dialog.querySelector<HTMLElement>(`#${id}`)!, text);
  }
  button.onclick = () => {
    dialog.showModal();
    void showCode(dialog.querySelector<HTMLElement>("#share-code")!, url);
  };
  // A click beside the dialog is one on its backdrop, which belongs to it.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

/** Draws the QR code of a text, once. What makes it is loaded when it is first needed. */
async function showCode(place: HTMLElement, text: string): Promise<void> {
  if (place.childElementCount > 0) return;
  const { encode } = await import("uqr");
  const { size, data } = encode(text, { border: 2 });
  const draw = (name: string, attributes: Record<string, string>) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const squares = data.flatMap((row, y) => row.flatMap((isDark, x) => isDark ? [`M${x} ${y}h1v1h-1z`] : []));
  const image = draw("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "shape-rendering": "crispEdges" });
  image.setAttribute("aria-label", `QR code of ${text}`);
  image.append(draw("path", { d: squares.join("") }));
  place.replaceChildren(image);
}
