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

/** Whether what was pasted may be an API key: it is there, and no JSON Web Token. */
export function isKeyLike(): boolean {
  return token !== "" && token.split(".").length !== 3;
}

/** Whom the token names, in its claim `sub` (RFC 7519): the server checks it, pages only want to know. */
export function readTokenUser(): string | undefined {
  try {
    const part = token.split(".")[1]?.replaceAll("-", "+").replaceAll("_", "/") ?? "";
    const bytes = Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes));
    return typeof sub === "string" && sub !== "" ? sub : undefined;
  } catch {
    return undefined;
  }
}
