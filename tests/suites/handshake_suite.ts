/** How every listener answers handshakes of WebSockets that are half or wrong. `listener_suite.ts` runs it. */
import assert from "node:assert/strict";
import { createHandshake, KEY, RawSocket } from "../raw_socket.ts";
import { startApp } from "../test_app.ts";

const HANDSHAKE = createHandshake();

/** A problem document of a status that names what is wrong. */
function problem(status: number, named: string): RegExp {
  return new RegExp(`^HTTP/1\\.1 ${status} [^]*application/problem\\+json[^]*"detail":"[^]*${named}`, "i");
}

/** The handshake with one more header line. */
function withLine(line: string): string {
  return HANDSHAKE.replace("\r\n\r\n", `\r\n${line}\r\n\r\n`);
}

const NOT_VERSION_13 = /^HTTP\/1\.1 426 [^]*sec-websocket-version: 13[^]*Sec-WebSocket-Version: 13/i;

/** Half and wrong handshakes, and what they are answered. */
const HANDSHAKES: readonly [string, string, RegExp][] = [
  ["without a key", HANDSHAKE.replace(/Sec-WebSocket-Key.*\r\n/, ""), problem(400, "Sec-WebSocket-Key")],
  ["with a key that is no key", HANDSHAKE.replace(KEY, "short"), problem(400, "Sec-WebSocket-Key")],
  ["with two keys", withLine(`Sec-WebSocket-Key: ${KEY}`), problem(400, "Sec-WebSocket-Key")],
  ["with a wrong version", HANDSHAKE.replace("Version: 13", "Version: 8"), NOT_VERSION_13],
  ["with two versions", HANDSHAKE.replace("Version: 13", "Version: 13, 8"), NOT_VERSION_13],
  ["without a version", HANDSHAKE.replace(/Sec-WebSocket-Version.*\r\n/, ""), NOT_VERSION_13],
  [
    "without Connection: Upgrade",
    HANDSHAKE.replace("Connection: Upgrade\r\n", ""),
    problem(400, "Connection: Upgrade"),
  ],
  [
    "with Connection: keep-alive",
    HANDSHAKE.replace("Connection: Upgrade", "Connection: keep-alive"),
    problem(400, "Connection: Upgrade"),
  ],
  [
    "without Upgrade: websocket",
    HANDSHAKE.replace("Upgrade: websocket\r\n", ""),
    problem(400, "Upgrade: websocket"),
  ],
  [
    "with another Upgrade",
    HANDSHAKE.replace("Upgrade: websocket", "Upgrade: h2c, websocket"),
    problem(400, "Upgrade: websocket"),
  ],
  [
    "without Upgrade that accepts pages",
    withLine("Accept: text/html").replace("Upgrade: websocket\r\n", ""),
    /^HTTP\/1\.1 400 [^]*content-type: text\/html[^]*Upgrade: websocket/i,
  ],
  // The runtime answers this one by itself, without a problem document.
  ["with a body", withLine("Content-Length: 6") + "\x81\x80\0\0\0\0", /^HTTP\/1\.1 400 /],
  ["with chunks", withLine("Transfer-Encoding: chunked") + "1\r\na\r\n0\r\n\r\n", /^HTTP\/1\.1 400 /],
  ...["", ",", "a b", "a, (b)", "a, a", "\u00fc", '"a"'].map((offered): [string, string, RegExp] => [
    `with the subprotocols ${JSON.stringify(offered)}`,
    withLine(`Sec-WebSocket-Protocol: ${offered}`),
    problem(400, "Sec-WebSocket-Protocol"),
  ]),
  [
    "from another site's page",
    HANDSHAKE.replace("\r\n\r\n", "\r\nOrigin: https://elsewhere.example\r\n\r\n"),
    /^HTTP\/1\.1 403 /,
  ],
  ["to another host name", HANDSHAKE.replace("Host: localhost", "Host: rebound.example"), /^HTTP\/1\.1 421 /],
];

/** Registers the suite for one listener. @param flags that choose it */
export function testHandshakes(name: string, flags: readonly string[]): void {
  for (const [what, handshake, expected] of HANDSHAKES) {
    Deno.test(`${name}: a handshake ${what} is refused and leaves nothing behind`, async () => {
      await using server = await startApp(...flags);
      using raw = await RawSocket.open(server.port);
      await raw.write(handshake);
      assert.match(await raw.readUntil("}"), expected);
      assert.equal(server.app.hub.clientCount, 0);
    });
  }

  Deno.test(`${name}: lists of subprotocols may have empty elements, and come in two headers`, async () => {
    await using server = await startApp(...flags);
    for (
      const lines of [
        "Sec-WebSocket-Protocol: ,a,, b",
        "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b",
      ]
    ) {
      using raw = await RawSocket.open(server.port);
      await raw.write(withLine(lines));
      assert.match(await raw.readUntil("\r\n\r\n"), /^HTTP\/1\.1 101 [^]*sec-websocket-protocol: a\r\n/i);
    }
  });
}
