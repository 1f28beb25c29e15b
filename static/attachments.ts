/**
 * Pictures and files: pasted, dropped or picked, made small enough, and sent one after the other, with their progress. They
 * wait for the connection, and are kept across reloads until they are sent or discarded. The channel page opens it.
 */
import { messageLimit } from "./credential.ts";
import { forgetFile, isKept, keepFile, type KeptFile, listFiles } from "./kept_files.ts";
import { describeRefusal, formatSize, KEY_LIFE_MS, senderQuery } from "./outbox.ts";
import { readRefusal } from "./history.ts";
import { createId } from "./remembered.ts";
import { isPicture, shrinkPicture } from "./shrink.ts";
import { authorization } from "./token.ts";

/** What the server takes where it does not say. */
const ASSUMED_LIMIT = 64 * 1024;
/** Room for the key of a file's JSON, beside its name and bytes. */
const ENVELOPE_BYTES = 200;
const MAX_FILES = 20;

export interface AttachmentOptions {
  readonly path: string;
  readonly composer: HTMLFormElement;
  readonly button: HTMLButtonElement;
  readonly input: HTMLInputElement;
  /** Where files are dropped. */
  readonly target: HTMLElement;
  /** Where files are shown that are on their way. */
  readonly list: HTMLElement;
  readonly sender: () => { readonly id: string; readonly name: string };
  readonly onStart: () => void;
}

/** Takes files until the page ends. Answers what sends the files that wait for the connection. */
export function openAttachments(options: AttachmentOptions): { resume(): void } {
  const { composer, button, input, target, path } = options;
  let turn: Promise<void> = Promise.resolve();
  const uploads = new Set<Upload>();
  const start = (kept: KeptFile, keeping: Promise<boolean>) => {
    const upload = new Upload(kept, keeping, options, (run) => turn = turn.then(run));
    uploads.add(upload);
    upload.start();
  };
  const take = (files: Iterable<File>) => {
    if (button.disabled) return;
    for (const [i, file] of [...files].slice(0, MAX_FILES).entries()) {
      const kept = { key: createId(), path, file, addedAt: Date.now() + i };
      start(kept, keepFile(kept));
    }
    options.onStart();
  };
  void listFiles(path).then((files) => {
    for (const kept of files) start(kept, Promise.resolve(true));
    if (files.length > 0) options.onStart();
  });
  button.onclick = () => input.click();
  input.onchange = () => {
    take(input.files ?? []);
    input.value = "";
  };
  composer.addEventListener("paste", (event) => {
    const files = [...event.clipboardData?.files ?? []];
    // Text comes with a picture of itself from some programs: then it is the text that is meant.
    if (files.length === 0 || event.clipboardData?.getData("text/plain")) return;
    event.preventDefault();
    take(files);
  });
  let depth = 0;
  const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") === true;
  const mark = (change: number) => {
    depth = Math.max(0, depth + change);
    target.classList.toggle("drop-here", depth > 0 && !button.disabled);
  };
  target.addEventListener("dragenter", (event) => hasFiles(event) && mark(1));
  target.addEventListener("dragleave", (event) => hasFiles(event) && mark(-1));
  target.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  target.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    mark(0);
    take(event.dataTransfer?.files ?? []);
  });
  return {
    resume() {
      for (const upload of uploads) {
        if (upload.isGone) uploads.delete(upload);
        else if (upload.isWaiting) upload.start();
      }
    },
  };
}

/** The server could not be reached: the same file is sent again when it can be. */
class Unreachable extends Error {}

/** One file on its way, as a line of the list. */
class Upload {
  #kept: KeptFile;
  /** Whether it is kept in the browser. */
  readonly #keeping: Promise<boolean>;
  readonly #options: AttachmentOptions;
  readonly #enqueue: (run: () => Promise<void>) => void;
  readonly #item = document.createElement("li");
  readonly #words = document.createElement("span");
  readonly #bar = document.createElement("progress");
  #request: XMLHttpRequest | undefined;
  /** Whether it was sent or discarded. */
  isGone = false;
  /** Whether it waits for the connection. */
  isWaiting = false;

  constructor(
    kept: KeptFile,
    keeping: Promise<boolean>,
    options: AttachmentOptions,
    enqueue: (run: () => Promise<void>) => void,
  ) {
    const { file } = this.#kept = kept;
    this.#keeping = keeping;
    this.#options = options;
    this.#enqueue = enqueue;
    const name = document.createElement("bdi");
    name.className = "name";
    name.textContent = file.name || "picture";
    this.#bar.ariaLabel = `Sending ${name.textContent}`;
    this.#item.className = "upload";
    this.#item.append(name, this.#bar, this.#words, createButton("Cancel", () => this.#discard()));
    options.list.append(this.#item);
  }

  start(): void {
    this.isWaiting = false;
    this.#show("Waiting…");
    this.#enqueue(() => this.#runAlone());
  }

  /** Pages of the same channel share what is kept: each file is sent by one of them. */
  async #runAlone(): Promise<void> {
    if (navigator.locks === undefined) await this.#run();
    else await navigator.locks.request(`raindrops.file ${this.#kept.key}`, () => this.#run());
  }

  async #run(): Promise<void> {
    if (this.isGone) return;
    const { key, file, sentAt } = this.#kept;
    if (await this.#keeping && !await isKept(key)) return this.#discard();
    if (sentAt !== undefined && Date.now() - sentAt > KEY_LIFE_MS) {
      // The server has forgotten the key by which it would know the file again.
      return this.#fail("It may have arrived already: look for it above", () => {
        const { sentAt: _, ...fresh } = this.#kept;
        this.#kept = fresh;
        this.start();
      });
    }
    try {
      this.#show(isPicture(file) ? "Making it smaller…" : "Reading…");
      const message = await createMessage(file);
      if (this.isGone) return;
      this.#show("Sending…");
      this.#kept = { ...this.#kept, sentAt: sentAt ?? Date.now() };
      if (await this.#keeping) await keepFile(this.#kept);
      if (this.isGone) return;
      await this.#send(message);
      this.#discard();
    } catch (error) {
      if (this.isGone) return;
      if (error instanceof Unreachable) {
        this.isWaiting = true;
        this.#bar.value = 0;
        this.#show("Waits for the connection");
      } else this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  /** By an older interface, as `fetch` says nothing of how far it is. */
  async #send({ type, body }: Outgoing): Promise<void> {
    const { path, sender } = this.#options;
    const send = (query: string) =>
      new Promise<Response>((resolve, reject) => {
        const request = this.#request = new XMLHttpRequest();
        request.open("POST", path + query);
        const headers = {
          "accept": "application/json",
          "content-type": type,
          "idempotency-key": this.#kept.key,
        };
        for (const [name, value] of Object.entries({ ...headers, ...authorization() })) {
          request.setRequestHeader(name, value);
        }
        request.upload.onprogress = ({ loaded, total }) => this.#bar.value = total > 0 ? loaded / total : 0;
        request.onload = () =>
          resolve(new Response(request.responseText || null, { status: request.status }));
        request.onerror = () => reject(new Unreachable());
        request.onabort = () => reject(new TypeError("Cancelled"));
        request.send(body);
      });
    const query = senderQuery(sender());
    let response = await send(query);
    // A server with keys takes names from tokens alone.
    if ((response.status === 401 || response.status === 403) && query !== "") response = await send("");
    if (!response.ok) throw new TypeError(describeRefusal(await readRefusal(response)));
  }

  #show(words: string): void {
    this.#words.textContent = words;
  }

  /** @param again what sends it again, where that may help */
  #fail(problem: string, again?: () => void): void {
    this.#item.classList.add("failed");
    const words = document.createElement("span");
    words.role = "alert";
    words.textContent = problem;
    this.#words.replaceWith(words);
    this.#bar.remove();
    const discard = createButton("Discard", () => this.#discard());
    this.#item.lastElementChild?.replaceWith(discard);
    if (again === undefined) return;
    const repeat = createButton("Send again", () => {
      this.#item.classList.remove("failed");
      repeat.remove();
      words.replaceWith(this.#bar, this.#words);
      again();
    });
    discard.before(repeat);
  }

  #discard(): void {
    this.isGone = true;
    this.#request?.abort();
    this.#item.remove();
    void this.#keeping.then(() => forgetFile(this.#kept.key));
  }
}

/** A message as it is posted. */
interface Outgoing {
  readonly type: string;
  readonly body: Blob | string;
}

/** Pictures go as bytes, which all readers know; other files as JSON, which has room for their names. */
async function createMessage(file: File): Promise<Outgoing> {
  const limit = messageLimit || ASSUMED_LIMIT;
  if (isPicture(file)) {
    return { type: "application/octet-stream", body: await shrinkPicture(file, limit) };
  }
  const room = Math.floor((limit - ENVELOPE_BYTES - 4 * file.name.length) / 4) * 3;
  if (file.size > room) {
    throw new TypeError(
      `Too large: ${formatSize(file.size)} of ${
        formatSize(Math.max(0, room))
      }. Only pictures are made smaller.`,
    );
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  const data = {
    file: file.name,
    type: file.type || "application/octet-stream",
    base64: encodeBase64(bytes),
  };
  return { type: "application/json", body: JSON.stringify({ data }) };
}

function encodeBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8_192) {
    text += String.fromCharCode(...bytes.subarray(i, i + 8_192));
  }
  return btoa(text);
}

function createButton(text: string, onClick: () => void): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = text;
  button.onclick = onClick;
  return button;
}
