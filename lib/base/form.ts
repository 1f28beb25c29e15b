/** Forms and queries as text, `a=1&b=2`: percent-encoded UTF-8, which is never repaired in silence. */

/**
 * Splits a form or query at its `&` and `=`. Of fields with the same name the first one counts.
 *
 * @param keeps whether to keep a field, given how many are kept
 * @returns the values by name, still encoded
 */
export function splitForm(
  text: string,
  keeps: (name: string, kept: number) => boolean,
): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (let start = 0; start <= text.length;) {
    const next = text.indexOf("&", start);
    const end = next < 0 ? text.length : next;
    const pair = text.slice(start, end);
    start = end + 1;
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = decodeName(equals < 0 ? pair : pair.slice(0, equals));
    if (keeps(name, fields.size) && !fields.has(name)) {
      fields.set(name, equals < 0 ? "" : pair.slice(equals + 1));
    }
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
