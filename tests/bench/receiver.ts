/**
 * The target of the webhooks scenario, a process of its own: takes requests on the port that it is told, and answers each
 * at once. It reads no more of them than it must, as it shares the load generator's core where there are only two.
 */
const HEAD_END = "\r\n\r\n";
const ANSWER = new TextEncoder().encode("HTTP/1.1 204 No Content\r\n\r\n");
/** More than a head has. */
const MAX_HEAD = 4_096;
const MAX_REQUEST = 1024 * 1024;

async function answerAll(connection: Deno.Conn): Promise<void> {
  using _ = connection;
  const buffer = new Uint8Array(MAX_REQUEST);
  const latin1 = new TextDecoder("latin1");
  let filled = 0;
  let expected = Infinity;
  for (let count; (count = await connection.read(buffer.subarray(filled))) !== null;) {
    filled += count;
    if (expected === Infinity) {
      expected = findEnd(latin1.decode(buffer.subarray(0, Math.min(filled, MAX_HEAD))));
    }
    // The next request is sent once this one is answered.
    if (filled < expected) continue;
    filled = 0;
    expected = Infinity;
    await connection.write(ANSWER);
  }
}

/** The length of the request whose head a text begins with; Infinity while it is not there. */
function findEnd(text: string): number {
  const end = text.indexOf(HEAD_END);
  if (end < 0) return Infinity;
  const [, length = "0"] = /^content-length: (\d+)/im.exec(text.slice(0, end)) ?? [];
  return end + HEAD_END.length + Number(length);
}

const listener = Deno.listen({ hostname: "127.0.0.1", port: Number(Deno.args[0]) });
for await (const connection of listener) {
  // Whoever connects may leave at any time.
  answerAll(connection).catch(() => {});
}
