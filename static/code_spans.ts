/**
 * Finds code in a text: between three backticks at the beginnings of lines, or between one on either side within a line. In one
 * pass over the lines: anybody can send a text over which one expression for all this would take seconds.
 */

export type Span =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "inline"; readonly text: string }
  | { readonly kind: "block"; readonly text: string; readonly language: string };

const FENCE = "```";
const LANGUAGE = /^[\w+#.-]*$/;
const INLINE = /(?<!`)`([^`\n]+)`(?!`)/g;

/** The text as it is read, in order. Line ends beside blocks are left out. */
export function findCode(text: string): readonly Span[] {
  const lines = text.split("\n");
  const ends = findEnds(lines);
  const spans: Span[] = [];
  let rest: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    const language = readLanguage(lines[at]!);
    const end = ends[at + 1];
    if (language === undefined || end === undefined) {
      rest.push(lines[at]!);
      continue;
    }
    addInline(spans, rest.join("\n"));
    rest = [];
    const last = lines[end]!.trimEnd().slice(0, -FENCE.length);
    const code = lines.slice(at + 1, end);
    spans.push({ kind: "block", text: (last === "" ? code : [...code, last]).join("\n"), language });
    at = end;
  }
  addInline(spans, rest.join("\n"));
  return spans;
}

/** For each line, the first one from there on that ends a block; undefined where none does. */
function findEnds(lines: readonly string[]): readonly (number | undefined)[] {
  const ends: (number | undefined)[] = new Array(lines.length);
  let next: number | undefined;
  for (let at = lines.length - 1; at >= 0; at--) {
    if (lines[at]!.trimEnd().endsWith(FENCE)) next = at;
    ends[at] = next;
  }
  return ends;
}

/** What a line that begins a block names as the language of its code; undefined for other lines. */
function readLanguage(line: string): string | undefined {
  if (!line.startsWith(FENCE)) return undefined;
  const language = line.slice(FENCE.length).trim();
  return LANGUAGE.test(language) ? language : undefined;
}

function addInline(spans: Span[], text: string): void {
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > end) spans.push({ kind: "text", text: text.slice(end, match.index) });
    spans.push({ kind: "inline", text: match[1]! });
    end = match.index + match[0].length;
  }
  if (end < text.length) spans.push({ kind: "text", text: text.slice(end) });
}
