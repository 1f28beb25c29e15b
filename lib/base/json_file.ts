/** Reads the JSON files that people write by hand: the errors say where to look. The readers of settings' files call it. */
import { NotJsonError, parseJsonText } from "./json_text.ts";

/**
 * Parses the text of a file, which may begin with a byte order mark.
 *
 * @throws {SyntaxError} with a clause about the file that says where it is wrong, without its text, which may hold a secret
 */
export function parseJsonFile(text: string): unknown {
  const json = text.replace(/^\uFEFF/, "");
  if (json.trim() === "") throw new SyntaxError("the file is empty");
  try {
    return JSON.parse(parseJsonText(json));
  } catch (cause) {
    if (!(cause instanceof NotJsonError)) throw cause;
    throw new SyntaxError(`it is not JSON at ${describePlace(json, cause.position)}`);
  }
}

function describePlace(text: string, position: number): string {
  const lines = text.slice(0, position).split("\n");
  const place = `line ${lines.length}, column ${lines.at(-1)!.length + 1}`;
  if (position >= text.length) return `${place}: it ends too early`;
  if (/,\s*$/.test(text.slice(0, position)) && "]}".includes(text[position]!)) {
    return `${place}: leave out the comma before it`;
  }
  if (/^(?:\/[/*]|#)/.test(text.slice(position))) return `${place}: JSON has no comments`;
  if (text[position] === "'") return `${place}: JSON takes double quotes alone`;
  return place;
}
