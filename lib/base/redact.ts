/**
 * Takes out of a text what looks like a credential. A net below the rule that nobody writes one: texts of others, such
 * as what a client sent or why a library failed, pass through here before they are logged or shown to operators.
 */

/** Stands where a credential was. */
export const REDACTED = "(redacted)";

/** What every credential that is found has near it: most texts have nothing of it, and are done with that. */
const HINT = /eyJ|bearer|key|:\/\/|token|secret|password/i;

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  // JSON Web Tokens, whole or cut short (RFC 7519); all begin with {" in base64.
  [/\beyJ[\w-]{12,}[\w.-]*/g, REDACTED],
  // Authorization headers (RFC 9110 section 11.6.2, RFC 6750).
  [/\b(bearer|apikey)(\s+)[\w.~+/=-]{8,}/gi, `$1$2${REDACTED}`],
  [/\b(x-api-key:\s*)[^\s<"]+/gi, `$1${REDACTED}`],
  // Users and passwords in URLs (RFC 3986 section 3.2.1).
  [/(:\/\/)[^\s/@"]+@/g, `$1${REDACTED}@`],
  // Parameters and JSON members by their names.
  [/\b([\w-]*(?:token|secret|password|api[-_]?key)=)[^\s&"]+/gi, `$1${REDACTED}`],
  [/(\\?"[\w-]*(?:token|secret|password|api[-_]?key)\\?"\s*:\s*\\?")[^"\\]+/gi, `$1${REDACTED}`],
];

/**
 * The text without credentials.
 *
 * @param secrets known ones, which are taken out wherever they are; short ones, which could be any word, are not
 */
export function redact(text: string, secrets: readonly string[] = []): string {
  let shown = text;
  for (const secret of secrets) {
    if (secret.length >= MIN_SECRET_LENGTH && shown.includes(secret)) {
      shown = shown.replaceAll(secret, REDACTED);
    }
  }
  if (!HINT.test(shown)) return shown;
  for (const [pattern, replacement] of PATTERNS) shown = shown.replace(pattern, replacement);
  return shown;
}

const MIN_SECRET_LENGTH = 6;
