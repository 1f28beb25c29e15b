/**
 * Redacts whatever looks like a credential. A safety net below the rule that no code logs one: foreign text, such as
 * what a client sent or the message of a library, passes through here before it is logged or shown to operators.
 */

/** Replaces a credential. */
export const REDACTED = "(redacted)";

/** Matches every text in which a pattern may match: most texts do not, and skip the patterns. */
const HINT = /eyJ|bearer|key|:\/\/|token|secret|password/i;

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  // JSON Web Tokens, whole or truncated (RFC 7519); all begin with {" in base64.
  [/\beyJ[\w-]{12,}[\w.-]*/g, REDACTED],
  // Authorization headers (RFC 9110 section 11.6.2, RFC 6750).
  [/\b(bearer|apikey)(\s+)[\w.~+/=-]{8,}/gi, `$1$2${REDACTED}`],
  // A variable of a shell in its place is none.
  [/\b(x-api-key:\s*)(?!\$[A-Z]+")[^\s<"]+/gi, `$1${REDACTED}`],
  // Users and passwords in URLs (RFC 3986 section 3.2.1).
  [/(:\/\/)[^\s/@"]+@/g, `$1${REDACTED}@`],
  // Parameters and JSON members by their names.
  [/\b([\w-]*(?:token|secret|password|api[-_]?key)=)[^\s&"]+/gi, `$1${REDACTED}`],
  [/(\\?"[\w-]*(?:token|secret|password|api[-_]?key)\\?"\s*:\s*\\?")[^"\\]+/gi, `$1${REDACTED}`],
];

/**
 * Replaces credentials in a text.
 *
 * @param secrets known secrets, replaced wherever they occur, unless so short that they could be ordinary words
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
