/** The listener suite over the native listener. */
import assert from "node:assert/strict";
import { RawSocket } from "../raw_socket.ts";
import { testListener } from "../suites/listener_suite.ts";

testListener({
  name: "Deno listener",
  flags: [],
  cannotRefuse: {
    "an unmasked frame": "the runtime accepts unmasked client frames, against RFC 6455 section 5.1",
  },
  canTerminate: false,
});

Deno.test("Deno listener: it listens again after it had run out of descriptors", async () => {
  const server = new URL("../../server.ts", import.meta.url).pathname;
  const child = new Deno.Command("sh", {
    args: [
      "-c",
      'ulimit -n 100 && exec "$@"',
      "sh",
      ...[Deno.execPath(), "run", "--allow-all", "--no-check", server, "--port", "0", "--engine", "memory:"],
    ],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let printed = "";
  const readUntil = async (text: string) => {
    while (!printed.includes(text)) printed += (await reader.read()).value ?? assert.fail(printed);
  };
  await readUntil("Try:");
  const port = Number(/127\.0\.0\.1:(\d+)/.exec(printed)?.[1]);
  using flood = new DisposableStack();
  while (!printed.includes("accepting connections failed")) {
    const opening = await Promise.allSettled(Array.from({ length: 100 }, () => RawSocket.open(port)));
    for (const opened of opening) if (opened.status === "fulfilled") flood.use(opened.value);
    await readUntil("accepting connections failed");
  }
  flood.dispose();
  // It listens again a moment later.
  let answer = "";
  while (!answer.startsWith("HTTP/1.1 200 ")) {
    const request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    answer = await RawSocket.exchange(port, request).catch(() => "");
  }
  child.kill("SIGTERM");
  await reader.cancel();
  assert.equal((await child.status).code, 0);
});
