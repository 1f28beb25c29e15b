/** Bytes as a picture where they are one, else as a link that saves them. Messages show theirs with it. */

/** The first bytes of pictures that can hold no script. */
const PICTURES: readonly { readonly type: string; readonly pattern: RegExp }[] = [
  { type: "image/png", pattern: /^\x89PNG\r\n/ },
  { type: "image/jpeg", pattern: /^\xff\xd8\xff/ },
  { type: "image/gif", pattern: /^GIF8[79]a/ },
  { type: "image/webp", pattern: /^RIFF[\s\S]{4}WEBP/ },
];

const MAX_NAME_LENGTH = 120;

/** Bytes in a message, and what they are called. */
export interface Attachment {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Undefined for bytes without a name. */
  readonly name: string | undefined;
}

/** The bytes of `{ "base64": "..." }`, or of a file with its name as pages send it; undefined for any other value. */
export function readAttachment(data: unknown): Attachment | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const keys = Object.keys(data).join();
  if (keys !== "base64" && keys !== "file,type,base64") return undefined;
  const { base64, file } = data as { base64: unknown; file?: unknown };
  if (typeof base64 !== "string" || (file !== undefined && typeof file !== "string")) return undefined;
  try {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    return { bytes, name: file === undefined ? undefined : tidyName(file) };
  } catch {
    return undefined;
  }
}

/** A name without folders and without what could turn its end around. */
function tidyName(name: string): string {
  const last = name.replaceAll(/[\p{Cc}\p{Cf}]/gu, "").split(/[/\\]/).at(-1) ?? "";
  return last.slice(-MAX_NAME_LENGTH) || "file";
}

/** @param fallback what the file is called when it is saved and has no name, without its ending */
export function createBytesView({ bytes, name }: Attachment, fallback: string): HTMLElement {
  const head = String.fromCharCode(...bytes.subarray(0, 12));
  const type = PICTURES.find(({ pattern }) => pattern.test(head))?.type;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: type ?? "application/octet-stream" }));
  const label = `${formatBytes(bytes.length)}${type === undefined ? "" : ` ${type.slice(6).toUpperCase()}`}`;
  const showFile = () => {
    link.className = "file";
    link.download = name ?? `${fallback}.bin`;
    link.textContent = name === undefined ? `Save ${label}` : `Save ${name} (${label})`;
  };
  if (type === undefined) {
    showFile();
    return link;
  }
  link.className = "picture";
  link.target = "_blank";
  link.dataset.download = name ?? `${fallback}.${type.slice(6).replace("jpeg", "jpg")}`;
  const picture = document.createElement("img");
  picture.src = link.href;
  picture.alt = name === undefined ? `Picture, ${label}` : `Picture ${name}, ${label}`;
  // Broken ones are saved like any other bytes.
  picture.onerror = showFile;
  link.append(picture);
  return link;
}

/** Frees what the pictures and links of a message hold. */
export function releaseBytes(element: HTMLElement): void {
  for (const link of element.querySelectorAll<HTMLAnchorElement>("a[href^='blob:']")) {
    URL.revokeObjectURL(link.href);
  }
}

function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1024 * 1024 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
