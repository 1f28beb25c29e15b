/** Bytes as a picture where they are one, else as a link that saves them. Messages show theirs with it. */

/** The first bytes of pictures that can hold no script. */
const PICTURES: readonly { readonly type: string; readonly pattern: RegExp }[] = [
  { type: "image/png", pattern: /^\x89PNG\r\n/ },
  { type: "image/jpeg", pattern: /^\xff\xd8\xff/ },
  { type: "image/gif", pattern: /^GIF8[79]a/ },
  { type: "image/webp", pattern: /^RIFF[\s\S]{4}WEBP/ },
];

/** The bytes of `{ "base64": "..." }`, or undefined for any other value. */
export function readBytes(data: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (typeof data !== "object" || data === null || Object.keys(data).join() !== "base64") return undefined;
  const { base64 } = data as { base64: unknown };
  if (typeof base64 !== "string") return undefined;
  try {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** @param name what the file is called when it is saved, without its ending */
export function createBytesView(bytes: Uint8Array<ArrayBuffer>, name: string): HTMLElement {
  const head = String.fromCharCode(...bytes.subarray(0, 12));
  const type = PICTURES.find(({ pattern }) => pattern.test(head))?.type;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: type ?? "application/octet-stream" }));
  const label = `${formatSize(bytes.length)}${type === undefined ? "" : ` ${type.slice(6).toUpperCase()}`}`;
  if (type === undefined) {
    link.className = "file";
    link.download = `${name}.bin`;
    link.textContent = `Save ${label}`;
    return link;
  }
  link.className = "picture";
  link.target = "_blank";
  const picture = document.createElement("img");
  picture.src = link.href;
  picture.alt = `Picture, ${label}`;
  // Broken ones are saved like any other bytes.
  picture.onerror = () => {
    link.className = "file";
    link.download = `${name}.bin`;
    link.textContent = `Save ${label}`;
  };
  link.append(picture);
  return link;
}

/** Frees what the pictures and links of a message hold. */
export function releaseBytes(element: HTMLElement): void {
  for (const link of element.querySelectorAll<HTMLAnchorElement>("a[href^='blob:']")) {
    URL.revokeObjectURL(link.href);
  }
}

function formatSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1024 * 1024 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
