/** The listener suite over `node:http` and `ws`. */
import assert from "node:assert/strict";
import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { sendResponse } from "../../../lib/listeners/node/response.ts";
import { RawSocket } from "../../raw_socket.ts";
import { testListener } from "../../suites/listener_suite.ts";
import { startApp } from "../../test_app.ts";

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

Deno.test("node listener: streams that wait behind another one end with their connection", async () => {
  await using server = await startApp("--listener", "node");
  const { hub } = server.app;
  {
    using socket = await RawSocket.open(server.port);
    for (const path of ["/first", "/second", "/third"]) {
      await socket.write(`GET ${path}?follow HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    }
    while (hub.clientCount < 3) await new Promise((resolve) => setImmediate(resolve));
  }
  while (hub.clientCount > 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(server.app.connectionCount, 0);
});

Deno.test("sendResponse() cancels the body for a client that has gone away before", async () => {
  const outgoing = new ServerResponse(new IncomingMessage(new Socket()));
  outgoing.destroy();
  let isCancelled = false;
  const body = new ReadableStream<Uint8Array>({ cancel: () => void (isCancelled = true) });
  await sendResponse(new Response(body), outgoing, 1_000);
  assert.ok(isCancelled);
});
