/** A text as it was written: its addresses are links, what stands between backticks is code. Never HTML. */
import { findCode } from "./code_spans.ts";

/** A text that is longer is folded until somebody asks for the rest. */
const LONG_LENGTH = 1_500;
const LONG_LINES = 16;

const LINK = /https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}]/g;

/** The item's content for a text. */
export function createText(text: string): HTMLElement {
  const blocks = createBlocks(text);
  const [only] = blocks;
  let body = only;
  if (body === undefined || blocks.length > 1) {
    body = document.createElement("div");
    body.className = "text";
    body.append(...blocks);
  }
  return text.length > LONG_LENGTH || text.split("\n", LONG_LINES).length === LONG_LINES ? fold(body) : body;
}

/** Paragraphs, and blocks of code between them. */
function createBlocks(text: string): HTMLElement[] {
  const blocks: HTMLElement[] = [];
  let paragraph = createParagraph();
  for (const span of findCode(text)) {
    if (span.kind === "text") appendLinked(paragraph, span.text);
    else if (span.kind === "inline") paragraph.append(createCode(span.text));
    else {
      if (paragraph.childNodes.length > 0) blocks.push(paragraph);
      paragraph = createParagraph();
      blocks.push(createCodeBlock(span.text, span.language));
    }
  }
  if (paragraph.childNodes.length > 0 || blocks.length === 0) blocks.push(paragraph);
  return blocks;
}

function createParagraph(): HTMLElement {
  const paragraph = document.createElement("p");
  paragraph.dir = "auto";
  return paragraph;
}

function createCodeBlock(text: string, language: string): HTMLElement {
  const code = document.createElement("pre");
  code.className = "code-block";
  code.dir = "ltr";
  code.tabIndex = 0;
  code.ariaLabel = language === "" ? "Code" : `Code, ${language}`;
  code.role = "region";
  code.append(createCode(text));
  return code;
}

function createCode(text: string): HTMLElement {
  const code = document.createElement("code");
  code.textContent = text;
  return code;
}

function appendLinked(place: HTMLElement, text: string): void {
  let end = 0;
  for (const { 0: url, index } of text.matchAll(LINK)) {
    const link = document.createElement("a");
    link.href = url;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.textContent = url;
    place.append(text.slice(end, index), link);
    end = index + url.length;
  }
  place.append(text.slice(end));
}

/** Shows the beginning, and the rest on demand. */
function fold(body: HTMLElement): HTMLElement {
  const whole = document.createElement("div");
  whole.className = "fold";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  const show = (isOpen: boolean) => {
    body.classList.toggle("folded", !isOpen);
    button.textContent = isOpen ? "Show less" : "Show more";
    button.ariaExpanded = String(isOpen);
  };
  button.onclick = () => show(body.classList.contains("folded"));
  show(false);
  whole.append(body, button);
  return whole;
}
