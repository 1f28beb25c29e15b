/** The token this page was given, where the server asks for one. Kept for this tab, never in an address. */

const TOKEN = "raindrops.token";
let token = "";

try {
  token = sessionStorage.getItem(TOKEN) ?? "";
} catch {
  // Storage is forbidden: it is asked for again after a reload.
}

export function readToken(): string {
  return token;
}

export function useToken(text: string): void {
  token = text.trim();
  try {
    sessionStorage.setItem(TOKEN, token);
  } catch {
    // This page knows it all the same.
  }
}

/** The header that carries the token. */
export function authorization(): Record<string, string> {
  return token === "" ? {} : { authorization: `Bearer ${token}` };
}
