/**
 * Renders the manual: each Markdown file of `static/docs/` becomes a page with the list of all pages and the contents of
 * the page, and all of them together an index to search. `assets.ts` asks for one at a time.
 */
import { Marked, type Token, type Tokens } from "marked";
import { nextSlice } from "../base/slices.ts";
import { encodeHtml } from "./html.ts";

/** The path of the manual's index; pages are below it. */
export const MANUAL = "/_docs";

/** The file that lists the pages, which repository hosts show for the folder. */
const INDEX = "README";

/** One section of the manual, as the search finds it. */
interface Section {
  readonly href: string;
  readonly page: string;
  readonly title: string;
  readonly text: string;
}

interface Heading {
  readonly depth: number;
  readonly id: string;
  readonly title: string;
}

/** A page as lists name it. */
interface Page {
  readonly name: string;
  readonly title: string;
  readonly source: string;
}

/** What the search reads. */
const SEARCH = "search.json";

export class Manual {
  /** The files that can be rendered: a page for each source, and the index to search. */
  readonly files: readonly string[];
  readonly #pages: readonly Page[];
  readonly #template: string;

  /**
   * @param sources Markdown by the name of its file without `.md`
   * @param template HTML with the slots `{{title}}`, `{{pages}}` and `{{body}}`
   */
  constructor(sources: ReadonlyMap<string, string>, template: string) {
    this.#pages = orderPages(sources.get(INDEX) ?? "", [...sources.keys()]).map((name) => {
      const source = sources.get(name)!;
      return { name, title: readTitle(source) ?? name, source };
    });
    this.#template = template;
    this.files = [...this.#pages.map(({ name }) => toFile(name)), SEARCH];
  }

  /**
   * Renders a file.
   *
   * @throws {RangeError} for a file that is not in the list
   */
  async render(file: string): Promise<string> {
    if (file === SEARCH) return await this.#renderSearch();
    const page = this.#pages.find(({ name }) => toFile(name) === file);
    if (page === undefined) throw new RangeError(`The manual has no file ${file}`);
    const { body, headings } = renderBody(page.source);
    return fillTemplate(this.#template, {
      title: encodeHtml(page.title),
      pages: listPages(this.#pages, page, headings),
      body,
    });
  }

  /** All pages together take a tenth of a second: others have their turn between them. */
  async #renderSearch(): Promise<string> {
    const sections: Section[] = [];
    for (const page of this.#pages) {
      await nextSlice();
      sections.push(...splitSections(page));
    }
    return JSON.stringify(sections);
  }
}

function toFile(name: string): string {
  return `${name === INDEX ? "index" : name}.html`;
}

/** Puts texts into the slots of a template; a slot without one stays empty. */
export function fillTemplate(template: string, slots: Readonly<Record<string, string>>): string {
  return template.replaceAll(/\{\{ ?(\w+) ?\}\}/g, (_, name: string) => slots[name] ?? "");
}

/** The id of a heading, as repository hosts make it, so that a link works in both places. */
export function toAnchor(title: string): string {
  return title.trim().toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(/\s/g, "-");
}

/** The pages in the order in which the index links to them, then those it does not know. */
function orderPages(index: string, names: readonly string[]): string[] {
  const linked = [...index.matchAll(/\]\(([\w-]+)\.md(?:#[^)]*)?\)/g)].map(([, name = ""]) => name);
  const known = [INDEX, ...linked].filter((name) => names.includes(name));
  return [...new Set([...known, ...names.toSorted()])];
}

/** Reads Markdown where nothing is rendered. */
const markdown = new Marked({ gfm: true });

/** A flag with its value, or a variable: what a reader looks for and types. */
const SETTING = /^(?:--[a-z][a-z-]*(?: [^ ]{1,20})?|RAINDROPS_[A-Z_]+)$/;

function renderBody(source: string): { readonly body: string; readonly headings: readonly Heading[] } {
  const headings: Heading[] = [];
  const ids = new Map<string, number>();
  const marked = new Marked({
    gfm: true,
    renderer: {
      heading({ tokens, depth }) {
        const title = plainText(tokens);
        const id = uniqueAnchor(title, ids);
        headings.push({ depth, id, title });
        const html = this.parser.parseInline(tokens);
        if (depth === 1) return `<h1 id="${id}">${html}</h1>\n`;
        const link = `<a class="anchor" href="#${id}" aria-label="Link to “${encodeHtml(title)}”">#</a>`;
        return `<h${depth} id="${id}">${html} ${link}</h${depth}>\n`;
      },
      link({ href, tokens }) {
        const target = encodeHtml(toHref(href));
        const rel = /^https?:/.test(href) ? ` rel="noopener"` : "";
        return `<a href="${target}"${rel}>${this.parser.parseInline(tokens)}</a>`;
      },
      image({ href, text }) {
        return `<img src="${encodeHtml(toImage(href))}" alt="${encodeHtml(text)}" loading="lazy" />`;
      },
      code({ text, lang }) {
        const language = (lang ?? "").split(/\s/)[0] ?? "";
        const label = language === "" ? "Code" : `Code: ${language}`;
        return `<div class="block sheet"><pre tabindex="0" role="group" aria-label="${encodeHtml(label)}">` +
          `<code>${encodeHtml(text)}</code></pre></div>\n`;
      },
      codespan({ text }) {
        return `<code${SETTING.test(text) ? ' class="setting"' : ""}>${encodeHtml(text)}</code>`;
      },
      table(token) {
        const row = (cells: readonly Tokens.TableCell[], tag: string) =>
          `<tr>${
            cells.map(({ tokens }) => `<${tag}>${this.parser.parseInline(tokens)}</${tag}>`).join("")
          }</tr>`;
        return `<div class="table" role="group" aria-label="Table" tabindex="0"><table><thead>${
          row(token.header, "th")
        }</thead><tbody>${token.rows.map((cells) => row(cells, "td")).join("")}</tbody></table></div>\n`;
      },
      // The manual has no markup of its own, but comments may stand in it.
      html: ({ text }) => text.startsWith("<!--") ? "" : encodeHtml(text),
    },
  });
  return { body: marked.parser(marked.lexer(source)), headings };
}

/** The text of the first heading of a page. */
function readTitle(source: string): string | undefined {
  // Most pages begin with it: reading on would take as long as rendering the page.
  const start = /^# .*\n/.exec(source)?.[0] ?? source;
  const heading = markdown.lexer(start).find((token) => token.type === "heading" && token.depth === 1);
  return heading === undefined ? undefined : plainText((heading as Tokens.Heading).tokens);
}

function uniqueAnchor(title: string, ids: Map<string, number>): string {
  const anchor = toAnchor(title);
  const count = ids.get(anchor) ?? 0;
  ids.set(anchor, count + 1);
  return count === 0 ? anchor : `${anchor}-${count}`;
}

/** Links between files become links between pages. */
function toHref(href: string): string {
  const [, name, anchor = ""] = /^(?:\.\/)?([\w-]+)\.md(#.*)?$/.exec(href) ?? [];
  if (name === undefined) return href;
  return name === INDEX ? MANUAL + anchor : `${MANUAL}/${name}${anchor}`;
}

/** Pictures lie beside the folder of the manual, in `static/`. */
function toImage(href: string): string {
  return href.replace(/^\.\.\//, "/_static/");
}

function toPath(name: string): string {
  return name === INDEX ? MANUAL : `${MANUAL}/${name}`;
}

/** All pages, and below the one that is open its sections. */
function listPages(pages: readonly Page[], open: Page, headings: readonly Heading[]): string {
  const items = pages.map((page) => {
    const isOpen = page === open;
    const current = isOpen ? ` aria-current="page"` : "";
    const link = `<a href="${toPath(page.name)}"${current}>${encodeHtml(page.title)}</a>`;
    const sections = headings.filter(({ depth }) => depth === 2);
    if (!isOpen || sections.length === 0) return `<li>${link}</li>`;
    const inner = sections.map(({ id, title }) => `<li><a href="#${id}">${encodeHtml(title)}</a></li>`);
    return `<li>${link}<ul>${inner.join("")}</ul></li>`;
  });
  return `<ul>${items.join("\n")}</ul>`;
}

function splitSections({ name, title: page, source }: Page): Section[] {
  const ids = new Map<string, number>();
  const sections: { href: string; page: string; title: string; text: string }[] = [];
  for (const token of markdown.lexer(source)) {
    if (token.type === "heading") {
      const title = plainText(token.tokens ?? []);
      const anchor = uniqueAnchor(title, ids);
      sections.push({ href: `${toPath(name)}#${anchor}`, page, title, text: "" });
    } else if (sections.length > 0) {
      sections.at(-1)!.text += ` ${plainText([token])}`;
    }
  }
  return sections.map((section) => ({ ...section, text: section.text.replaceAll(/\s+/g, " ").trim() }));
}

/** What tokens say, without markup. */
function plainText(tokens: readonly Token[]): string {
  return tokens.map((token): string => {
    if (token.type === "table") {
      const { header, rows } = token as Tokens.Table;
      return [header, ...rows].flat().map((cell) => plainText(cell.tokens)).join(" ");
    }
    if (token.type === "list") {
      return (token as Tokens.List).items.map(({ tokens }) => plainText(tokens)).join(" ");
    }
    if (token.type === "html") return "";
    const inner = "tokens" in token ? token.tokens : undefined;
    if (inner !== undefined && inner.length > 0) return plainText(inner);
    return "text" in token ? String(token.text) : token.type === "space" || token.type === "br" ? " " : "";
  }).join("");
}
