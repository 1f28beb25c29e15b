/** What this browser remembers between visits, or only this page where storage is forbidden. All pages use it. */

const forgotten = new Map<string, string>();

/** A value that was remembered under a key. */
export function recall(key: string): string | undefined {
  try {
    return localStorage.getItem(key) ?? forgotten.get(key);
  } catch {
    return forgotten.get(key);
  }
}

/** Remembers a value, or with undefined forgets it. */
export function remember(key: string, value: string | undefined): void {
  if (value === undefined) forgotten.delete(key);
  else forgotten.set(key, value);
  try {
    if (value === undefined) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Forbidden or full: this page knows it all the same.
  }
}

/** The keys that begin with a prefix, in no order. */
export function listKeys(prefix: string): string[] {
  const keys = new Set(forgotten.keys());
  try {
    for (let i = 0; i < localStorage.length; i++) keys.add(localStorage.key(i) ?? "");
  } catch {
    // Forbidden: only what this page knows.
  }
  return [...keys].filter((key) => key.startsWith(prefix));
}

/** A random id: also on pages from plain http of another machine, where `crypto.randomUUID` is missing. */
export function createId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
