/** `/echo`: returns everything to its sender alone, byte for byte, by POST and on plain sockets. */

/** Whether a channel is the echo. */
export function isEcho(channel: string | undefined): boolean {
  return channel === "echo";
}

/** Answers a POST with its own body. */
export function createEcho(request: Request, bytes: Uint8Array<ArrayBuffer>): Response {
  // The type is the client's own word: sniffing and scripts are off, so that no echo becomes a page of ours.
  return new Response(bytes, {
    headers: {
      "content-type": request.headers.get("content-type") ?? "text/plain; charset=utf-8",
      "content-security-policy": "sandbox",
      "x-content-type-options": "nosniff",
    },
  });
}
