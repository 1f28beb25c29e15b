/** What every listener must do with WebSockets, well-behaved or not. One suite, run over each of them. */
import assert from "node:assert/strict";
import { MessagingError } from "../../lib/core/errors.ts";
import { Frame } from "../../lib/core/socket.ts";
import { createFrame, createHandshake, RawSocket } from "../raw_socket.ts";
import { startApp, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";
import { testHandshakes } from "./handshake_suite.ts";

const HANDSHAKE = createHandshake();

/** How long a listener may keep a connection whose peer does not answer. Far more than it takes, for busy machines. */
const DROP_MILLISECONDS = 20_000;

/** Resolves when the hub has noticed that only so many clients are left. */
async function untilClients(server: TestApp, count: number): Promise<void> {
  while (server.app.hub.clientCount !== count) await new Promise((resolve) => setImmediate(resolve));
}

/** What a misbehaving client sends after a good handshake. */
const GARBAGE: readonly [string, Uint8Array][] = [
  ["bytes that are no frame", new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")],
  ["an unmasked frame", new Uint8Array([0x81, 1, 97])],
  ["a reserved opcode", createFrame(3, "a")],
  ["a reserved bit", createFrame(1, "a", { bits: 0xc0 })],
  ["text that is not UTF-8", new Uint8Array([0x81, 0x81, 0, 0, 0, 0, 0xff])],
  ["a fragmented ping", createFrame(9, "a", { bits: 0 })],
  ["a continuation of nothing", createFrame(0, "a")],
];

export interface ListenerUnderTest {
  readonly name: string;
  /** The flags that choose it. */
  readonly flags: readonly string[];
  /** What it cannot do, by the misbehaviour it lets pass, with the reason. */
  readonly cannotRefuse: Readonly<Record<string, string>>;
  /** Whether it can drop a connection whose peer has stopped reading, with what is queued for it. */
  readonly canTerminate: boolean;
}

async function publish(server: TestApp, path: string, body: string): Promise<void> {
  const response = await fetch(server.url + path, { method: "POST", body });
  assert.equal(response.status, 200, await response.text());
}

/** Host headers that are none, and what becomes of them. */
const HOSTS = ["a b", "%%%", "[", "localhost/x?"];

/** Registers the suite for one listener. */
export function testListener({ name, flags, cannotRefuse, canTerminate }: ListenerUnderTest): void {
  Deno.test(`${name}: 1,000 sockets each receive 100 messages, in order, none twice, none missing`, async () => {
    await using server = await startApp(...flags);
    const sockets = await Promise.all(
      Array.from({ length: 1_000 }, () => TestSocket.open(`${server.socketUrl}/news`)),
    );
    await using publisher = await TestSocket.open(`${server.socketUrl}/news`);
    for (let i = 0; i < 100; i++) publisher.send(`message ${i}`);
    const expected = Array.from({ length: 100 }, (_, i) => `message ${i}`);
    for (const socket of sockets) {
      const received: unknown[] = [];
      while (received.length < 100) received.push(await socket.next());
      assert.deepEqual(received, expected);
    }
    // A marker behind the messages: when it is there, nothing else can still be on its way.
    publisher.send("end");
    for (const socket of sockets) assert.equal(await socket.next(), "end");
    assert.ok(sockets.every((socket) => socket.unread.length === 0));
    await Promise.all(sockets.map((socket) => socket[Symbol.asyncDispose]()));
    await untilClients(server, 1);
    assert.equal(server.app.hub.countSubscribers("news"), 1);
  });

  for (const [what, bytes] of GARBAGE) {
    const reason = cannotRefuse[what];
    const promise = `${name}: a socket that sends ${what} is dropped and leaves nothing behind`;
    Deno.test(
      { name: reason ? `${promise} (skipped: ${reason})` : promise, ignore: reason !== undefined },
      async () => {
        await using server = await startApp(...flags);
        await using witness = await TestSocket.open(`${server.socketUrl}/news`);
        using raw = await RawSocket.open(server.port);
        await raw.write(HANDSHAKE);
        await raw.readUntil("\r\n\r\n");
        await untilClients(server, 2);
        await raw.write(bytes);
        await raw.readToEnd();
        await untilClients(server, 1);
        assert.equal(server.app.hub.countSubscribers("news"), 1);
        assert.deepEqual(witness.unread, []);
      },
    );
  }

  testHandshakes(name, flags);

  for (const host of HOSTS) {
    Deno.test(`${name}: a request for the host ${host} is refused with 400`, async () => {
      await using server = await startApp(...flags);
      using raw = await RawSocket.open(server.port);
      await raw.write(`GET /news HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      assert.match(await raw.readToEnd(), /^HTTP\/1\.1 400 /);
      assert.deepEqual(server.logger.find("request failed"), []);
    });
  }

  Deno.test(`${name}: clients that send while they are disconnected all learn why`, async () => {
    await using server = await startApp(...flags);
    const frame = createFrame(1, "");
    for (let round = 0; round < 20; round++) {
      using stack = new DisposableStack();
      const sockets = await Promise.all(
        Array.from({ length: 20 }, async () => stack.use(await RawSocket.upgrade(server.port))),
      );
      const writing: Promise<number>[] = [];
      for (const [index, client] of [...server.app.hub.clients].entries()) {
        // Some have sent before, some send at the same moment, some a little later.
        if (index % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
        for (const socket of sockets) writing.push(socket.flood(frame, frame.length));
        client.end(new MessagingError("idle", "the reason"));
      }
      await Promise.all(writing);
      for (const socket of sockets) {
        assert.match(await socket.readUntil("the reason"), /\u02c6.{3}the reason/s);
      }
      stack.dispose();
      await untilClients(server, 0);
    }
  });

  Deno.test(`${name}: a socket that opens while the server drains is closed like all others`, async () => {
    await using server = await startApp(...flags);
    // The handshake is answered in one turn and the socket opens in a later one: the drain comes between.
    const sockets = Array.from({ length: 50 }, () => new WebSocket(`${server.socketUrl}/news`));
    const endings = sockets.map((socket) => {
      socket.onerror = (event) => event.preventDefault();
      let opened = false;
      socket.onopen = () => opened = true;
      return new Promise<{ opened: boolean; code: number }>((resolve) => {
        socket.onclose = ({ code }) => resolve({ opened, code });
      });
    });
    await new Promise((resolve) => sockets[0]?.addEventListener("open", resolve));
    server.app.drain();
    for (const { opened, code } of await Promise.all(endings)) {
      if (opened) assert.equal(code, 1012);
    }
    assert.equal(server.app.hub.clientCount, 0);
  });

  Deno.test(`${name}: sockets that vanish, in or after the handshake, leave nothing behind`, async () => {
    await using server = await startApp(...flags);
    for (let i = 0; i < 20; i++) {
      const raw = await RawSocket.open(server.port);
      await raw.write(HANDSHAKE.slice(0, 10 * i));
      raw[Symbol.dispose]();
    }
    for (let i = 0; i < 20; i++) {
      const raw = await RawSocket.open(server.port);
      await raw.write(HANDSHAKE);
      if (i % 2 === 0) await raw.readUntil("\r\n\r\n");
      // Half a frame.
      await raw.write(createFrame(1, "hello").subarray(0, i % 8));
      raw[Symbol.dispose]();
    }
    await using last = await TestSocket.open(`${server.socketUrl}/news`);
    last.send("Hello");
    assert.equal(await last.next(), "World!");
    await untilClients(server, 1);
  });

  Deno.test(`${name}: a socket that answers no ping is dropped after the idle timeout`, async () => {
    await using server = await startApp("--idle-timeout", "1", ...flags);
    using raw = await RawSocket.open(server.port);
    await raw.write(HANDSHAKE);
    await raw.readUntil("\r\n\r\n");
    await untilClients(server, 1);
    await raw.readToEnd();
    await untilClients(server, 0);
    assert.equal(server.app.metrics.refusals.get("idle"), 1);
  });

  Deno.test(`${name}: a socket stays open beyond the idle timeout while its client answers pings`, async () => {
    await using server = await startApp("--idle-timeout", "1", ...flags);
    await using alive = await TestSocket.open(`${server.socketUrl}/news`);
    using silent = await RawSocket.open(server.port);
    await silent.write(HANDSHAKE);
    // The silent one has been timed out by the time this ends, the other one has outlived it.
    await silent.readToEnd();
    alive.send("Hello");
    assert.equal(await alive.next(), "World!");
  });

  Deno.test(`${name}: sockets that answer no close frame are dropped once they have read it`, async () => {
    await using server = await startApp(...flags);
    const upgrade = () => RawSocket.upgrade(server.port, "/news");
    using silent = await upgrade();
    await untilClients(server, 1);
    using late = await upgrade();
    await untilClients(server, 2);
    for (const [index, client] of [...server.app.hub.clients].entries()) {
      // The second one has much to read before it gets to the close frame.
      if (index > 0) client.socket.send([new Frame("x".repeat(16 * 1024 * 1024))]);
      client.end(new MessagingError("idle", "the reason"));
    }
    let isOver = false;
    const deadline = setTimeout(() => {
      isOver = true;
      for (const socket of [silent, late]) socket[Symbol.dispose]();
    }, DROP_MILLISECONDS);
    for (const received of await Promise.all([silent.readToEnd(), late.readToEnd()])) {
      assert.match(received.slice(-20), /the reason$/);
    }
    clearTimeout(deadline);
    assert.ok(!isOver, "the server has kept the connections");
    await untilClients(server, 0);
  });

  Deno.test(`${name}: a stalled WebSocket is cut off with a code it can reconnect on, and nobody else waits`, async () => {
    await using server = await startApp("--max-queue-bytes", "200000", ...flags);
    using stalled = await RawSocket.open(server.port);
    await stalled.write(HANDSHAKE);
    await stalled.readUntil("\r\n\r\n");
    await using reader = await TestSocket.open(`${server.socketUrl}/news`);
    let published = 0;
    while (server.app.hub.clientCount === 2) {
      await publish(server, "/news", `${published++}`.padEnd(60_000));
      assert.equal(String(await reader.next()).trimEnd(), String(published - 1));
      assert.ok(published < 1_000, "it was not cut off");
    }
    assert.deepEqual(server.logger.find("client disconnected").map(({ code }) => code), [1013]);
    if (canTerminate) {
      const received = await stalled.readToEnd();
      assert.ok(!received.includes(`${published - 1} `), "what was queued was not dropped");
    } else {
      // The close frame follows what was queued: opcode 8, code 1013 (0x03f5).
      assert.match(
        (await stalled.readUntil("Too many messages")).slice(-200),
        /\u02c6..\u00f5Too many messages/s,
      );
    }
    await using back = await TestSocket.open(`${server.socketUrl}/news?since=${published - 2}`);
    assert.equal(String(await back.next()).trimEnd(), String(published - 2));
    assert.equal(String(await back.next()).trimEnd(), String(published - 1));
  });

  Deno.test(`${name}: a stalled event stream is cut off and resumes from the log`, async () => {
    await using server = await startApp("--max-queue-bytes", "200000", ...flags);
    using stalled = await RawSocket.open(server.port);
    await stalled.write(
      "GET /news HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: text/event-stream\r\n\r\n",
    );
    const opening = await stalled.readUntil("retry");
    assert.match(opening, /text\/event-stream/);
    let published = 0;
    while (server.app.hub.clientCount === 1) {
      await publish(server, "/news", `${published++}`.padEnd(60_000));
      assert.ok(published < 1_000, "it was not cut off");
    }
    const ids = [...(opening + await stalled.readToEnd()).matchAll(/^id: (\S+)$/gm)].map(([, id]) => id);
    // The first id came with the opening, before any message.
    const seen = ids.length - 1;
    assert.ok(seen < published);
    const resumed = await fetch(`${server.url}/news?limit=${published - seen}`, {
      headers: { accept: "text/event-stream", "last-event-id": ids.at(-1) ?? "" },
    });
    const missed = [...(await resumed.text()).matchAll(/^data: (\d+)/gm)].map(([, text]) => Number(text));
    assert.deepEqual(missed, Array.from({ length: published - seen }, (_, i) => seen + i));
  });

  Deno.test(`${name}: a stalled reader of a conflated channel stays, and gets the newest of each sender`, async () => {
    const rules = await Deno.makeTempFile();
    await Deno.writeTextFile(rules, '[{"channels":"news","conflate":true}]');
    await using server = await startApp("--max-queue-bytes", "200000", "--rules", rules, ...flags);
    await Deno.remove(rules);
    using stalled = await RawSocket.open(server.port);
    await stalled.write(HANDSHAKE);
    await stalled.readUntil("\r\n\r\n");
    await using ann = await TestSocket.open(`${server.socketUrl}/news?id=ann`);
    await using bob = await TestSocket.open(`${server.socketUrl}/news?id=bob`);
    // Far more than the kernel and the queue take.
    for (let i = 0; i < 400; i++) {
      ann.send(`ann ${i} `.padEnd(60_000));
      await bob.next();
    }
    bob.send("bob last ");
    await ann.next();
    ann.send("ann last ");
    await bob.next();
    const received = await stalled.readUntil("ann last ");
    assert.match(received, /bob last [^]*ann last $/);
    const arrived = [...received.matchAll(/ann (\d+) /g)].map(([, i]) => Number(i));
    assert.ok(arrived.length < 400, "nothing was conflated");
    assert.deepEqual(arrived, arrived.toSorted((a, b) => a - b));
    assert.equal(server.app.hub.clientCount, 3);
  });

  Deno.test(`${name}: a draining server closes its sockets with 1012 and ends its streams`, async () => {
    await using server = await startApp(...flags);
    await using socket = await TestSocket.open(`${server.socketUrl}/news`);
    const stream = await fetch(`${server.url}/news`, { headers: { accept: "text/event-stream" } });
    server.app.hub.drain();
    assert.deepEqual(await socket.closed, { code: 1012, reason: "service restart" });
    await stream.text();
    const refused = await fetch(`${server.url}/news`, { headers: { accept: "application/json" } });
    assert.equal(refused.status, 503);
    await refused.body?.cancel();
  });

  Deno.test(`${name}: servers that agree to share a port each get some of its connections`, async () => {
    await using first = await startApp(...flags, "--reuse-port");
    const port = String(first.port);
    await using second = await startApp(...flags, "--port", port, "--reuse-port");
    const sockets: TestSocket[] = [];
    while (first.app.hub.clientCount === 0 || second.app.hub.clientCount === 0) {
      assert.ok(sockets.length < 100, "one of them gets them all");
      sockets.push(await TestSocket.open(`${first.socketUrl}/news`));
    }
    for (const socket of sockets) await socket[Symbol.asyncDispose]();
  });
}
