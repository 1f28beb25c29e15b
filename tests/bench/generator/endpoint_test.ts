import assert from "node:assert/strict";
import { encodeClientFrame, encodeOpeningRequest } from "./endpoint.ts";

Deno.test("encodeClientFrame() writes the length as RFC 6455 wants it, and a mask that changes nothing", () => {
  const heads = [0, 125, 126, 65_535].map((length) => {
    const frame = encodeClientFrame(new Uint8Array(length).fill(7));
    assert.ok(frame.subarray(frame.length - length).every((byte) => byte === 7));
    return [...frame.subarray(0, frame.length - length)];
  });
  assert.deepEqual(heads, [
    [0x81, 0x80, 0, 0, 0, 0],
    [0x81, 0x80 | 125, 0, 0, 0, 0],
    [0x81, 0x80 | 126, 0, 126, 0, 0, 0, 0],
    [0x81, 0x80 | 126, 255, 255, 0, 0, 0, 0],
  ]);
});

Deno.test("encodeOpeningRequest() puts the channel in and asks for what the endpoint is", () => {
  const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const stream = {
    path: "/sub/{channel}",
    kind: "stream",
    headers: { accept: "text/event-stream" },
  } as const;
  assert.equal(
    read(encodeOpeningRequest(stream, "news")),
    "GET /sub/news HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n",
  );
  assert.match(
    read(encodeOpeningRequest({ path: "/{channel}", kind: "WebSocket" }, "news")),
    /^GET \/news HTTP\/1\.1\r\n(?:.+\r\n)*upgrade: websocket\r\n/,
  );
});
