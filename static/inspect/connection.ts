/** Talks to the inspector's side of the server: sends the key along, reads documents and streams of lines. */

/** An answer other than 200; its message is the server's. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const KEY = "raindrops-inspector-key";

/** Keeps the key for this tab. */
export function rememberKey(key: string): void {
  sessionStorage.setItem(KEY, key);
}

/** Whether this server takes everybody for an operator, or this tab has a key. */
export function mayInspect(): boolean {
  if (document.documentElement.dataset.operators === "all") return true;
  try {
    return sessionStorage.getItem(KEY) !== null;
  } catch {
    return false;
  }
}

export function forgetKey(): void {
  sessionStorage.removeItem(KEY);
}

/** Sends a request with the key. Throws `Refused` for every answer but a good one. */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const key = sessionStorage.getItem(KEY);
  const headers = new Headers(init.headers);
  if (key !== null) headers.set("authorization", `apikey ${key}`);
  const response = await fetch(path, { ...init, headers });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, String(problem.detail ?? response.statusText));
}

/** Reads a document below `/_inspect/`, with its query. */
export async function read<T>(name: string, query: Readonly<Record<string, string>> = {}): Promise<T> {
  const response = await ask(`/_inspect/${name}?${new URLSearchParams(query)}`);
  return await response.json();
}

/** Reads a document anew whenever asked to; answers undefined for one that was asked for anew before it came. */
export function createReader<T>(
  name: string,
): (query: Readonly<Record<string, string>>) => Promise<T | undefined> {
  let asked = 0;
  return async (query) => {
    const number = ++asked;
    const document = await read<T>(name, query);
    return number === asked ? document : undefined;
  };
}

/** Reads a stream of JSON lines until it ends, the signal fires, or the browser is offline. */
export async function readLines<T>(
  name: string,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal | undefined,
  onLine: (value: T) => void,
): Promise<void> {
  const abort = new AbortController();
  const hangUp = () => abort.abort();
  signal?.addEventListener("abort", hangUp);
  // The stream itself would only fall silent.
  addEventListener("offline", hangUp);
  try {
    const response = await ask(`/_inspect/${name}?${new URLSearchParams(query)}`, { signal: abort.signal });
    let rest = "";
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) onLine(JSON.parse(line));
    }
  } finally {
    removeEventListener("offline", hangUp);
    signal?.removeEventListener("abort", hangUp);
  }
}

/** Runs a task at once and then at intervals, one run at a time, while the page is to be seen. */
export function repeat(milliseconds: number, task: () => Promise<void>): () => void {
  let running = false;
  const run = async () => {
    if (running || document.hidden) return;
    running = true;
    // What fails now is tried again with the next turn; the stream says whether the server is there.
    await task().catch(() => {});
    running = false;
  };
  void run();
  const timer = setInterval(run, milliseconds);
  return () => clearInterval(timer);
}
