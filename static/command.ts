/** Commands to copy: fills in this server's address and adds a Copy button. All pages with commands use it. */

import { curlCredential } from "./credential.ts";

/** Turns every `<code class="command">` of the page into the command for this server, with a Copy button. */
export function showCommands(): void {
  for (const code of document.querySelectorAll<HTMLElement>("code.command")) {
    fillCommand(code, toThisServer(code.textContent ?? ""));
  }
}

/** A text about `localhost:8000` as one about this server, with the credential that curl needs here. */
export function toThisServer(text: string): string {
  return text
    .replaceAll(
      /\bcurl (?![^\n]*(?:X-API-Key|Authorization))(?=[^\n]*localhost:8000)/g,
      `curl ${curlCredential}`,
    )
    .replaceAll(/(http|ws):\/\/localhost:8000(?!\d)/g, (_, scheme) => toOrigin(scheme))
    .replaceAll(/(?<![\w./:-])localhost:8000(?!\d)/g, toOrigin("http").replace("http://", ""));
}

function toOrigin(scheme: string): string {
  return scheme === "ws" ? location.origin.replace("http", "ws") : location.origin;
}

/** Puts a command into its place, with a Copy button behind it. */
export function fillCommand(code: HTMLElement, text: string): void {
  code.textContent = text;
  code.after(createCopyButton(code));
}

/** A word as a POSIX shell reads it back unchanged. */
export function quoteForShell(word: string): string {
  return /^[\w@%+=:.,/-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A button that copies what an element says. */
export function createCopyButton(code: HTMLElement): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  // Without the credential, which all of them have.
  button.ariaLabel = `Copy: ${(code.textContent ?? "").replace(curlCredential, "").slice(0, 80)}`;
  button.onclick = async () => {
    button.textContent = await copyText(code) ? "Copied" : "Selected";
    setTimeout(() => button.textContent = "Copy", 2000);
  };
  return button;
}

/** Copies, or where the browser forbids it leaves the text selected for the user's own copy command. */
async function copyText(code: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(code.textContent ?? "");
    return true;
  } catch {
    // Also when there is no clipboard at all: a page on plain http from another machine has none.
    getSelection()?.selectAllChildren(code);
    return false;
  }
}
