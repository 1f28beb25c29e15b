/** Small helpers to build and renew parts of the page without losing the reader's place. */

/** A text with more characters or lines is folded. */
const LONG_CHARACTERS = 240;
const LONG_LINES = 4;

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

/** A text, of which a long one shows its beginning, and the rest on demand. */
export function createText(text: string): HTMLElement {
  const body = create("span", "", text);
  const whole = create("span", "text", body);
  if (text.length <= LONG_CHARACTERS && text.split("\n", LONG_LINES + 1).length <= LONG_LINES) return whole;
  const button = create("button", "quiet");
  button.type = "button";
  const fold = (isFolded: boolean) => {
    body.classList.toggle("folded", isFolded);
    button.ariaExpanded = String(!isFolded);
    button.textContent = isFolded ? "Show all" : "Show less";
  };
  button.onclick = () => fold(!body.classList.contains("folded"));
  fold(true);
  whole.append(button);
  return whole;
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
  readonly #heads: readonly string[];
  #shown = new Map<string, { element: HTMLTableRowElement; cells: HTMLTableCellElement[] }>();

  constructor(
    body: HTMLElement,
    keyOf: (row: T) => string,
    create: (row: T) => HTMLTableCellElement[],
    update: (row: T, cells: readonly HTMLTableCellElement[]) => void,
  ) {
    this.#body = body;
    this.#heads = nameTable(body.closest("table")!);
    this.#keyOf = keyOf;
    this.#create = create;
    this.#update = update;
  }

  /** Marks the row with a key as the one that is looked into; none for undefined. */
  mark(key: string | undefined): void {
    for (const [name, { element }] of this.#shown) {
      if (name === key) element.setAttribute("aria-current", "true");
      else element.removeAttribute("aria-current");
    }
  }

  show(rows: readonly T[], whenEmpty: string): void {
    const focused = document.activeElement;
    const shown = new Map<string, { element: HTMLTableRowElement; cells: HTMLTableCellElement[] }>();
    for (const row of rows) {
      const key = this.#keyOf(row);
      let entry = this.#shown.get(key);
      if (entry === undefined) {
        const cells = this.#create(row);
        entry = { element: createRow(cells, this.#heads), cells };
      }
      this.#update(row, entry.cells);
      shown.set(key, entry);
    }
    this.#shown = shown;
    const elements = [...shown.values()].map(({ element }) => element);
    if (elements.length === 0) elements.push(createEmptyRow(whenEmpty, this.#heads.length));
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

/** On a phone a row is a card, and each cell says for itself what it is. It stays a table to screen readers. */
function nameTable(table: HTMLTableElement): readonly string[] {
  table.role = "table";
  for (const group of table.querySelectorAll("thead, tbody")) group.role = "rowgroup";
  for (const row of table.tHead!.rows) row.role = "row";
  const heads = [...table.tHead!.querySelectorAll("th")];
  for (const head of heads) head.role = "columnheader";
  return heads.map((head) => head.textContent?.trim() ?? "");
}

function createRow(cells: readonly HTMLTableCellElement[], heads: readonly string[]): HTMLTableRowElement {
  for (const [i, cell] of cells.entries()) {
    cell.role = cell.tagName === "TH" ? "rowheader" : "cell";
    if (i > 0) cell.dataset.label = heads[i] ?? "";
  }
  const row = create("tr", "", ...cells);
  row.role = "row";
  return row;
}

function createEmptyRow(text: string, columns: number): HTMLTableRowElement {
  const cell = create("td", "nothing", text);
  cell.colSpan = columns;
  return createRow([cell], []);
}
