/** Forms and queries as text, `a=1&b=2`: percent-encoded UTF-8, which is never repaired in silence. */

/**
 * Finds out whether a form has a field, without splitting it.
 *
 * @returns a pattern that matches forms with a field of that name, whose characters are letters and may be percent-encoded
 */
export function createFieldPattern(name: string): RegExp {
  const characters = [...name].map((letter) => `(?:${letter}|%${letter.charCodeAt(0).toString(16)})`);
  return new RegExp(`(?:^|&)${characters.join("")}(?:[=&]|$)`);
}

/**
 * Splits a form or query at its `&` and `=`. Of fields with the same name the first one counts.
 *
 * @param max fields, empty ones among them
 * @returns the values by name, still encoded
 * @throws {SyntaxError} when there are more
 */
export function splitForm(text: string, max: number): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  const pairs = text.split("&", max + 1);
  if (pairs.length > max) {
    throw new SyntaxError(`A form has at most ${max} fields: encode an & in a value as %26`);
  }
  for (const pair of pairs) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = decodeName(equals < 0 ? pair : pair.slice(0, equals));
    if (!fields.has(name)) fields.set(name, equals < 0 ? "" : pair.slice(equals + 1));
  }
  return fields;
}

/**
 * Decodes a value. A `%` that no two hexadecimal digits follow stands for itself, as in the URL standard.
 *
 * @throws {SyntaxError} when it is not percent-encoded UTF-8
 */
export function decodeFormText(encoded: string): string {
  if (!/[%+]/.test(encoded)) return encoded;
  try {
    return decodeURIComponent(encoded.replaceAll("+", " ").replace(/%(?![0-9A-Fa-f]{2})/g, "%25"));
  } catch (cause) {
    throw new SyntaxError("Percent-encoded text must be UTF-8: encode it as encodeURIComponent() does", {
      cause,
    });
  }
}

function decodeName(encoded: string): string {
  try {
    return decodeFormText(encoded);
  } catch {
    return encoded;
  }
}
