/**
 * Glob patterns for the method `channels`, as in Centrifugo: `*` any text, slashes included, `?` one character, `[a-z]`
 * and `[!a-z]` one of a set, `{a,b}` alternatives, `\` before a character that stands for itself.
 */
import { normalizeChannel } from "../core/channel.ts";

/** Without regular expressions, a hostile pattern costs at most its length times the name's, for each alternative. */
const MAX_PATTERN_LENGTH = 255;
const MAX_ALTERNATIVES = 64;

/** A text of which some characters take two units. */
const WIDE = /[\ud800-\udfff]/;

/** Any text, or a test for one character. */
type Token = "any" | ((character: string) => boolean);
type Tokens = readonly Token[];

/**
 * Compiles a pattern into a test for whole names.
 *
 * @throws {SyntaxError} whose message is a clause to follow the name of the field
 */
export function compileGlob(pattern: string): (text: string) => boolean {
  if (pattern.length > MAX_PATTERN_LENGTH) {
    throw new SyntaxError(`must have at most ${MAX_PATTERN_LENGTH} characters`);
  }
  const alternatives = new Parser(normalizeChannel(pattern)).parse();
  return (text) => {
    const characters = WIDE.test(text) ? Array.from(text) : text;
    return alternatives.some((tokens) => matches(tokens, characters));
  };
}

/** Parses a pattern into sequences of tokens, one for each combination of its alternatives. */
class Parser {
  /** By characters, not units of UTF-16: `?` is one of any script. */
  readonly #pattern: readonly string[];
  #at = 0;

  constructor(pattern: string) {
    this.#pattern = Array.from(pattern);
  }

  parse(): readonly Tokens[] {
    const found = this.#parseSequence(false);
    if (this.#at < this.#pattern.length) throw new SyntaxError("has a } that closes nothing");
    return found;
  }

  /** Parses up to the end or, inside braces, up to the comma or brace that ends an alternative. */
  #parseSequence(inBraces: boolean): readonly Tokens[] {
    let found: readonly Tokens[] = [[]];
    while (this.#at < this.#pattern.length) {
      const character = this.#pattern[this.#at]!;
      if (character === "}" || (inBraces && character === ",")) break;
      this.#at++;
      const choices = character === "{" ? this.#parseBraces() : [[this.#parseToken(character)]];
      if (found.length * choices.length > MAX_ALTERNATIVES) {
        throw new SyntaxError(`has more than ${MAX_ALTERNATIVES} alternatives`);
      }
      found = found.flatMap((head) => choices.map((tail) => [...head, ...tail]));
    }
    return found;
  }

  #parseBraces(): readonly Tokens[] {
    const choices: Tokens[] = [];
    while (true) {
      choices.push(...this.#parseSequence(true));
      if (choices.length > MAX_ALTERNATIVES) {
        throw new SyntaxError(`has more than ${MAX_ALTERNATIVES} alternatives`);
      }
      const end = this.#pattern[this.#at++];
      if (end === undefined) throw new SyntaxError("has a { without its }");
      if (end === "}") return choices;
    }
  }

  #parseToken(character: string): Token {
    switch (character) {
      case "*":
        return "any";
      case "?":
        return () => true;
      case "[":
        return this.#parseSet();
      case "\\": {
        const escaped = this.#pattern[this.#at++];
        if (escaped === undefined) throw new SyntaxError("ends with a backslash");
        return (other) => other === escaped;
      }
      default:
        return (other) => other === character;
    }
  }

  #parseSet(): Token {
    const end = this.#pattern.indexOf("]", this.#at + 1);
    if (end === -1) throw new SyntaxError("has a [ without its ]");
    const negated = this.#pattern[this.#at] === "!";
    const members = this.#pattern.slice(this.#at + (negated ? 1 : 0), end).join("");
    if (members === "") throw new SyntaxError("has an empty []");
    this.#at = end + 1;
    const ranges = [...members.matchAll(/([^])-([^])|([^])/gu)].map(([, from, to, only = ""]) => {
      if (from === undefined || to === undefined) return [only, only] as const;
      if (from.codePointAt(0)! > to.codePointAt(0)!) {
        throw new SyntaxError(`has the range ${from}-${to}, which is empty`);
      }
      return [from, to] as const;
    });
    return (character) => ranges.some(([from, to]) => isBetween(from, character, to)) !== negated;
  }
}

/** By code points: units of UTF-16 are in another order. */
function isBetween(from: string, character: string, to: string): boolean {
  const code = character.codePointAt(0)!;
  return from.codePointAt(0)! <= code && code <= to.codePointAt(0)!;
}

/** Walks along both; on a mismatch, the last `any` takes one more character. */
function matches(tokens: Tokens, text: ArrayLike<string>): boolean {
  let token = 0;
  let at = 0;
  let retryToken = -1;
  let retryAt = 0;
  while (at < text.length) {
    const test = tokens[token];
    if (test === "any") {
      retryToken = ++token;
      retryAt = at;
    } else if (test?.(text[at]!)) {
      token++;
      at++;
    } else if (retryToken >= 0) {
      token = retryToken;
      at = ++retryAt;
    } else return false;
  }
  return tokens.slice(token).every((rest) => rest === "any");
}
