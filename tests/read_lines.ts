/** Reads a streaming response line by line: what tests of event streams and line streams look at. */

/** An open stream. Disposing it hangs up. */
export interface LineReader extends AsyncDisposable {
  readonly response: Response;
  /** The next lines, once that many have arrived; fewer when the stream ends first. */
  take(count: number): Promise<string[]>;
}

/** Opens a URL and reads its lines. */
export async function readLines(url: string, headers: Record<string, string> = {}): Promise<LineReader> {
  const abort = new AbortController();
  const response = await fetch(url, { headers, signal: abort.signal });
  if (response.body === null) throw new TypeError("The response has no body");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffered = "";
  return {
    response,
    async take(count) {
      const lines: string[] = [];
      while (lines.length < count) {
        const end = buffered.indexOf("\n");
        if (end >= 0) {
          lines.push(buffered.slice(0, end));
          buffered = buffered.slice(end + 1);
          continue;
        }
        const { done, value } = await reader.read();
        if (done) break;
        buffered += value;
      }
      return lines;
    },
    async [Symbol.asyncDispose]() {
      abort.abort();
      await reader.cancel().catch(() => {});
    },
  };
}
