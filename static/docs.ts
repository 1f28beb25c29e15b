/** A page of the manual: code gets this server's address and a Copy button, and the search works in this browser. */
import { createCopyButton, toThisServer } from "./command.ts";

interface Section {
  readonly href: string;
  readonly page: string;
  readonly title: string;
  readonly text: string;
}

const MAX_RESULTS = 12;
const EXCERPT_LENGTH = 90;

for (const code of document.querySelectorAll<HTMLElement>(".block code")) {
  code.textContent = toThisServer(code.textContent ?? "");
  code.closest("pre")!.after(createCopyButton(code));
}

for (const code of document.querySelectorAll<HTMLElement>(".text :not(pre) > code")) {
  code.textContent = toThisServer(code.textContent ?? "");
}
for (const link of document.querySelectorAll<HTMLAnchorElement>('.text a[href*="//localhost:8000"]')) {
  link.href = toThisServer(link.href);
  link.textContent = toThisServer(link.textContent ?? "");
}

const input = document.querySelector<HTMLInputElement>("#search input")!;
const results = document.querySelector<HTMLElement>("#results")!;
const found = document.querySelector<HTMLElement>("#found")!;
const pages = document.querySelector<HTMLElement>("#pages")!;
let sections: Promise<readonly Section[]> | undefined;

document.querySelector<HTMLFormElement>("#search")!.onsubmit = (event) => {
  event.preventDefault();
  const first = results.querySelector<HTMLAnchorElement>("a");
  if (first !== null) location.href = first.href;
};
input.oninput = async () => {
  sections ??= fetch("/_docs/search.json").then((response) => response.json());
  const words = input.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
  try {
    show(words, rank(words, await sections));
  } catch {
    sections = undefined;
    found.textContent = "The index could not be loaded.";
  }
};

/** The sections that have all words, those with words in their titles first. */
function rank(words: readonly string[], all: readonly Section[]): Section[] {
  const scored = all.map((section) => {
    const title = `${section.page} ${section.title}`.toLowerCase();
    const text = section.text.toLowerCase();
    const scores = words.map((word) => title.includes(word) ? 5 : text.includes(word) ? 1 : 0);
    return { section, score: scores.includes(0) ? 0 : scores.reduce<number>((sum, score) => sum + score, 0) };
  });
  return scored.filter(({ score }) => score > 0).sort((a, b) => b.score - a.score).map(({ section }) =>
    section
  );
}

function show(words: readonly string[], matches: readonly Section[]): void {
  const searches = words.length > 0;
  results.hidden = !searches;
  pages.hidden = searches;
  found.textContent = searches ? `${matches.length} ${matches.length === 1 ? "section" : "sections"}` : "";
  results.replaceChildren(...matches.slice(0, MAX_RESULTS).map((section) => createResult(section, words)));
}

function createResult({ href, page, title, text }: Section, words: readonly string[]): HTMLElement {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = href;
  link.textContent = page === title ? title : `${page}: ${title}`;
  const excerpt = document.createElement("small");
  const at = Math.max(0, ...words.map((word) => text.toLowerCase().indexOf(word)));
  const start = Math.max(0, at - EXCERPT_LENGTH / 3);
  excerpt.textContent = (start > 0 ? "…" : "") + text.slice(start, start + EXCERPT_LENGTH) + "…";
  item.append(link, excerpt);
  return item;
}
