/** A JSON value as a tree that folds, filled in only where it is opened. Messages show theirs with it. */

/** Values in a folded line and lines in an open one; the rest is counted. */
const MAX_PREVIEW = 3;
const MAX_LINES = 200;
/** Open from the start while no longer than this as text. */
const MAX_OPEN_LENGTH = 400;

/** A value as text where it has no parts, else as a tree. */
export function createJsonView(value: unknown): HTMLElement {
  const view = document.createElement("div");
  view.className = "json";
  view.dir = "ltr";
  view.append(createNode(value, undefined, JSON.stringify(value)?.length <= MAX_OPEN_LENGTH));
  return view;
}

function createNode(value: unknown, key: string | undefined, isOpen: boolean): HTMLElement {
  const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
  if (entries.length === 0) {
    const line = document.createElement("div");
    line.append(...keyOf(key), leaf(value));
    return line;
  }
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const size = `${entries.length} ${Array.isArray(value) ? "items" : "keys"}`;
  summary.append(
    ...keyOf(key),
    preview(value, entries),
    span("size", entries.length === 1 ? size.slice(0, -1) : size),
  );
  details.append(summary);
  const fill = () => {
    if (details.childElementCount > 1) return;
    const lines = document.createElement("div");
    const isArray = Array.isArray(value);
    for (const [name, item] of entries.slice(0, MAX_LINES)) {
      lines.append(createNode(item, isArray ? undefined : name, false));
    }
    if (entries.length > MAX_LINES) lines.append(`… and ${entries.length - MAX_LINES} more`);
    details.append(lines);
  };
  if (isOpen) {
    fill();
    details.open = true;
  } else details.addEventListener("toggle", fill, { once: true });
  return details;
}

function keyOf(key: string | undefined): Node[] {
  return key === undefined ? [] : [span("key", key), document.createTextNode(": ")];
}

function leaf(value: unknown): HTMLElement {
  return span(value === null ? "null" : typeof value, JSON.stringify(value) ?? "null");
}

/** What is in a folded value, cut short: `{ mm: 12, … }`. */
function preview(value: unknown, entries: readonly (readonly [string, unknown])[]): HTMLElement {
  const isArray = Array.isArray(value);
  const parts = entries.slice(0, MAX_PREVIEW).map(([key, item]) => {
    const isNested = typeof item === "object" && item !== null;
    const text = isNested ? (Array.isArray(item) ? "[…]" : "{…}") : JSON.stringify(item) ?? "null";
    const short = text.length > 40 ? `${text.slice(0, 40)}…` : text;
    return isArray ? short : `${key.slice(0, 40)}: ${short}`;
  });
  if (entries.length > MAX_PREVIEW) parts.push(`… ${entries.length - MAX_PREVIEW} more`);
  const [open, close] = isArray ? ["[", "]"] : ["{ ", " }"];
  return span("preview", open + parts.join(", ") + close);
}

function span(className: string, text: string): HTMLElement {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}
