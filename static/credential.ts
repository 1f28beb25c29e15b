/** What this server takes before it lets somebody read and write, in a person's words. Pages that are refused use it. */

const { credential = "none", maxMessageBytes = "0" } = document.documentElement.dataset;

/** Whether an API key is all that this server knows: there is no token that could be made for it. */
export const takesKey = credential === "key";

/** Whether nobody reads or writes here without credentials, unless a rule allows it. */
export const takesCredential = credential !== "none";

/** Largest message in bytes; 0 where that is not known. */
export const messageLimit = Number(maxMessageBytes);

/** What to call it in a sentence. */
export const credentialName = takesKey ? "an API key" : "a token";

/** Why nothing is shown, and what would help. */
export const ASKS_FOR_CREDENTIAL = takesKey
  ? "This server takes an API key: paste one of its RAINDROPS_API_KEYS. It stays in this tab."
  : takesCredential
  ? "This channel asks for a token. It stays in this tab."
  : "This channel asks for a token.";

/** Hides what this server would refuse: browsers can send no credentials with a WebSocket or EventSource. */
export function hideRefused(): void {
  for (const element of document.querySelectorAll<HTMLElement>('[data-needs="none"]')) {
    element.hidden = takesCredential;
  }
}

/** The options that curl needs here, with a space behind them; none where everybody is let in. */
export const curlCredential = takesKey
  ? '-H "X-API-Key: $KEY" '
  : takesCredential
  ? '-H "Authorization: Bearer $TOKEN" '
  : "";
