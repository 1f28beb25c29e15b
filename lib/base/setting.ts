/**
 * A row of the table of settings, and the parsers its values are read with. `config/options.ts` joins the rows of all
 * folders into one table; a protocol or an engine states its own in a `settings.ts` of its folder.
 */

/** One setting. Its flag and its environment variable are derived from its key in the table. */
export interface Setting<T> {
  /**
   * Stands for the value in the help, such as `N` or `FILE`. A setting without one is a switch: its flag takes no
   * value.
   */
  readonly value?: string;
  /** One line for the help, without a capital and a full stop. */
  readonly help: string;
  /** The text that is parsed when nobody sets it; "" when left out. */
  readonly fallback?: string;
  /** The environment variable, where it is not `RAINDROPS_` and the key. */
  readonly variable?: string;
  /** A secret has no flag: every user of the machine can read command lines. Its value is never repeated. */
  readonly secret?: true;
  /**
   * Reads the text of a flag or variable.
   *
   * @throws {SyntaxError} with a clause that says what to write instead
   */
  parse(text: string): T;
}

/** Settings by their key, in the order of the help. */
export type Settings = Readonly<Record<string, Setting<unknown>>>;

/** The values of a table of settings, as its parsers return them. */
export type Values<T extends Settings> = { readonly [K in keyof T]: ReturnType<T[K]["parse"]> };

/** The flag of a setting without its dashes: `max-body-bytes` for `maxBodyBytes`. A secret has none. */
export function toFlag(key: string, { secret }: Setting<unknown>): string | undefined {
  return secret ? undefined : splitWords(key).join("-");
}

/** The environment variable of a setting: `RAINDROPS_MAX_BODY_BYTES` for `maxBodyBytes`. */
export function toVariable(key: string, { variable }: Setting<unknown>): string {
  return variable ?? `RAINDROPS_${splitWords(key).join("_").toUpperCase()}`;
}

function splitWords(key: string): string[] {
  return key.replaceAll(/[A-Z]/g, " $&").toLowerCase().split(" ");
}

/** A whole number within bounds. */
export function wholeNumber(from: number, to: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < from || value > to) {
      throw new SyntaxError(`give a whole number from ${from} to ${to}`);
    }
    return value;
  };
}

/** A whole number, of which 0 stands for no limit: `Infinity`. */
export function limit(text: string): number {
  return wholeNumber(0, Number.MAX_SAFE_INTEGER)(text) || Infinity;
}

/** One of a few words. */
export function oneOf<T extends string>(...values: readonly T[]): (text: string) => T {
  return (text) => {
    const value = values.find((candidate) => candidate === text);
    if (value === undefined) throw new SyntaxError(`use ${values.join(" or ")}`);
    return value;
  };
}

/** A list whose items are separated by commas, each read by `parseItem`; empty for the empty text. */
export function listOf<T>(parseItem: (text: string) => T): (text: string) => readonly T[] {
  return (text) => text === "" ? [] : text.split(",").map((item) => parseItem(item.trim()));
}

/** A switch: a flag, or `true`, `1` or `yes`, and their opposites. */
export function onOrOff(text: string): boolean {
  if (["true", "1", "yes"].includes(text)) return true;
  if (["", "false", "0", "no"].includes(text)) return false;
  throw new SyntaxError("use true or false");
}

/** Any text; undefined for the empty one. */
export function optional(text: string): string | undefined {
  return text === "" ? undefined : text;
}

/** Any text that is not blank. */
export function nonEmpty(text: string): string {
  if (text.trim() === "") throw new SyntaxError("it must not be empty");
  return text;
}
