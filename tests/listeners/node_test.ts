/** The listener suite over `node:http` and `ws`. */
import assert from "node:assert/strict";
import { RawSocket } from "../raw_socket.ts";
import { testListener } from "../suites/listener_suite.ts";
import { startApp } from "../test_app.ts";

testListener({ name: "node listener", flags: ["--listener", "node"], cannotRefuse: {}, canTerminate: true });

Deno.test("node listener: a refused body is taken to its end, and holds up no request behind it", async () => {
  await using server = await startApp("--listener", "node");
  using socket = await RawSocket.open(server.port);
  const body = "x".repeat(8 * 1024 * 1024);
  for (const [path, status] of [["/news", 413], ["/_news", 400]] as const) {
    // Like clients that read nothing before everything is sent.
    await socket.write(
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    assert.match(await socket.readUntil("}\n"), new RegExp(`^HTTP/1\\.1 ${status} `));
  }
  await socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  assert.match(await socket.readUntil("alive\n"), /^HTTP\/1\.1 200 /);
});
