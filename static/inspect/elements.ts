/** Small helpers to build and renew parts of the page without losing the reader's place. */

/** The element with an id, which the page is known to have. */
export function find<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** An element with a class and content; text stays text. */
export function create<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...content: (string | Node)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...content);
  return element;
}

/** A button that looks like a link, for the first cell of a row. */
export function createRowButton(text: string, onClick: () => void): HTMLButtonElement {
  const button = create("button", "link", text);
  button.type = "button";
  button.onclick = onClick;
  return button;
}

/** Renews the rows of a table: those that stay keep their elements, and with them the focus. */
export class Rows<T> {
  readonly #body: HTMLElement;
  readonly #keyOf: (row: T) => string;
  readonly #create: (row: T) => HTMLTableCellElement[];
  readonly #update: (row: T, cells: readonly HTMLTableCellElement[]) => void;
  #shown = new Map<string, { element: HTMLTableRowElement; cells: HTMLTableCellElement[] }>();

  constructor(
    body: HTMLElement,
    keyOf: (row: T) => string,
    create: (row: T) => HTMLTableCellElement[],
    update: (row: T, cells: readonly HTMLTableCellElement[]) => void,
  ) {
    this.#body = body;
    this.#keyOf = keyOf;
    this.#create = create;
    this.#update = update;
  }

  show(rows: readonly T[], whenEmpty: string): void {
    const focused = document.activeElement;
    const shown = new Map<string, { element: HTMLTableRowElement; cells: HTMLTableCellElement[] }>();
    for (const row of rows) {
      const key = this.#keyOf(row);
      let entry = this.#shown.get(key);
      if (entry === undefined) {
        const cells = this.#create(row);
        entry = { element: create("tr", "", ...cells), cells };
      }
      this.#update(row, entry.cells);
      shown.set(key, entry);
    }
    this.#shown = shown;
    const elements = [...shown.values()].map(({ element }) => element);
    if (elements.length === 0) elements.push(createEmptyRow(whenEmpty));
    const isSame = elements.length === this.#body.children.length &&
      elements.every((element, i) => element === this.#body.children[i]);
    if (isSame) return;
    this.#body.replaceChildren(...elements);
    if (focused instanceof HTMLElement && this.#body.contains(focused)) {
      focused.focus({ preventScroll: true });
    }
  }
}

/** Fills a list of terms. */
export function showFacts(list: HTMLElement, facts: readonly (readonly [string, string])[]): void {
  const texts = facts.flat();
  const isSame = texts.length === list.children.length * 2;
  if (!isSame) {
    list.replaceChildren(...facts.map(() => create("div", "", create("dt", ""), create("dd", ""))));
  }
  for (const [i, [term, text]] of facts.entries()) {
    setText(list.children[i]!.children[0]!, term);
    setText(list.children[i]!.children[1]!, text);
  }
}

/** Sets a text only when it has changed: a screen reader is not told twice, a selection stays. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

function createEmptyRow(text: string): HTMLTableRowElement {
  const cell = create("td", "empty", text);
  cell.colSpan = 5;
  return create("tr", "", cell);
}
