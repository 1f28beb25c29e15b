/** Attacks by those who keep connections, slowly or in large numbers. */
import assert from "node:assert/strict";
import { createHandshake, RawSocket } from "../raw_socket.ts";
import type { ServerProcess } from "../server_process.ts";
import type { Attack, Target } from "./attack.ts";

const BODY = "x".repeat(60_000);

/** How often those who send slowly send a byte. */
const DRIP_MILLISECONDS = 100;

/** Opens connections that each say the same and then stay. */
async function openMany(
  port: number,
  count: number,
  start: string,
): Promise<{ open: DisposableStack; sockets: RawSocket[] }> {
  const open = new DisposableStack();
  const sockets: RawSocket[] = [];
  for (let i = 0; i < count; i++) {
    const socket = open.use(await RawSocket.open(port));
    if (start !== "") await socket.write(start);
    sockets.push(socket);
  }
  return { open, sockets };
}

/** Sends one character after another; resolves to what came back once the server has hung up. */
async function drip(socket: RawSocket, text: string): Promise<string> {
  let isOver = false;
  const answer = socket.readToEnd().finally(() => isOver = true);
  for (let i = 0; !isOver; i++) {
    await socket.write(text[i % text.length] ?? "").catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, DRIP_MILLISECONDS));
  }
  return await answer;
}

/** Publishes a large message. */
async function publish({ url }: ServerProcess, path: string): Promise<void> {
  const answer = await fetch(url + path, { method: "POST", body: BODY, headers: { connection: "close" } });
  await answer.body?.cancel();
}

/** Publishes until the server has cut off so many readers of a channel. */
async function publishUntilCut(server: ServerProcess, channel: string, count: number): Promise<void> {
  const before = server.lines.length;
  const left = () =>
    server.lines.slice(before).filter((line) => /disconnected .*code=1013/.test(line)).length;
  for (let i = 0; left() < count; i++) {
    assert.ok(i < 500, `only ${left()} of ${count} readers were cut off`);
    await publish(server, `/${channel}?ephemeral`);
  }
}

export const CONNECTION_ATTACKS: readonly Attack[] = [
  {
    name: "connections that say nothing",
    run: async ({ port }) => (await openMany(port, 200, "")).open,
  },
  {
    name: "headers that never end",
    run: async ({ port }) => (await openMany(port, 100, createHandshake().slice(0, -10))).open,
  },
  {
    name: "headers sent a byte at a time",
    async run({ port }) {
      const { open, sockets } = await openMany(port, 20, "GET /attacked HTTP/1.1\r\nHost: localhost\r\n");
      using _ = open;
      for (const answer of await Promise.all(sockets.map((socket) => drip(socket, "X-A: b\r\n")))) {
        assert.match(answer, /^HTTP\/1\.1 408 /);
      }
    },
  },
  {
    name: "bodies sent a byte at a time, which are answered 408",
    async run({ port }) {
      const head = "POST /attacked HTTP/1.1\r\nHost: localhost\r\n";
      const announced = await openMany(port, 10, `${head}Content-Length: 90000\r\n\r\n`);
      using _announced = announced.open;
      const short = await openMany(port, 10, `${head}Content-Length: 9000\r\n\r\n`);
      using _short = short.open;
      const chunked = await openMany(port, 10, `${head}Transfer-Encoding: chunked\r\n\r\n`);
      using _chunked = chunked.open;
      await Promise.all(
        [...announced.sockets, ...short.sockets, ...chunked.sockets].map(async (socket, i) => {
          let isAnswered = false;
          const answer = socket.readUntil("\r\n\r\n").finally(() => isAnswered = true);
          for (let sent = 0; !isAnswered; sent++) {
            await socket.write(i < 20 ? "x" : "1\r\nx\r\n").catch(() => {});
            await new Promise((resolve) => setTimeout(resolve, DRIP_MILLISECONDS));
          }
          assert.match(await answer, /^HTTP\/1\.1 408 /);
        }),
      );
    },
  },
  {
    name: "bodies that stop in the middle and stay",
    async run({ port }) {
      const start = "POST /attacked HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\nxxx";
      return (await openMany(port, 100, start)).open;
    },
  },
  {
    name: "connections kept alive for nothing",
    async run({ port }) {
      const { open, sockets } = await openMany(port, 100, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
      for (const socket of sockets) assert.match(await socket.readUntil("\r\n\r\n"), /^HTTP\/1\.1 \d{3} /);
      return open;
    },
  },
  {
    name: "readers that stall, until they leave",
    async run({ server }) {
      using open = new DisposableStack();
      for (let i = 0; i < 10; i++) open.use(await RawSocket.upgrade(server.port, "/stalled"));
      await publishUntilCut(server, "stalled", 10);
    },
  },
  {
    name: "sockets that stall and stay",
    async run({ server }) {
      const open = new DisposableStack();
      for (let i = 0; i < 10; i++) open.use(await RawSocket.upgrade(server.port, "/stalled-sockets"));
      await publishUntilCut(server, "stalled-sockets", 10);
      return open;
    },
  },
  {
    name: "streams that stall and stay",
    async run({ server }) {
      const start = "GET /stalled-streams HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
      const { open, sockets } = await openMany(server.port, 10, start);
      for (const socket of sockets) await socket.readUntil("retry:");
      await publishUntilCut(server, "stalled-streams", 10);
      return open;
    },
  },
  {
    name: "downloads that stall and stay",
    async run({ server }) {
      // More than the kernel takes for a client that reads nothing.
      for (let i = 0; i < 120; i++) await publish(server, "/large");
      const start =
        "GET /large?since=earliest HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n";
      const { open } = await openMany(server.port, 3, start);
      await fetch(`${server.url}/large`, { method: "DELETE", headers: { connection: "close" } });
      return open;
    },
  },
  {
    name: "a flood of connections that come and go",
    async run({ port }) {
      for (let round = 0; round < 10; round++) {
        const sockets = await Promise.all(Array.from({ length: 200 }, () => RawSocket.open(port)));
        await Promise.all(sockets.map(async (socket, i) => {
          if (i % 2 === 0) await socket.write(createHandshake("/flood")).catch(() => {});
          if (i % 4 === 0) await socket.readUntil("\r\n\r\n");
          socket[Symbol.dispose]();
        }));
      }
    },
  },
  ...[
    { kind: "requests", request: "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" },
    {
      kind: "messages",
      request: "POST /flood?ephemeral HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi",
    },
  ].map(({ kind, request: one }) => ({
    name: `a flood of ${kind} in one connection whose answers nobody reads`,
    async run({ port }: Target) {
      using socket = await RawSocket.open(port);
      const request = new TextEncoder().encode(one.repeat(100));
      const flooding = socket.flood(request, 16 * 1024 * 1024);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([flooding, new Promise((resolve) => timer = setTimeout(resolve, 2_000))]);
      clearTimeout(timer);
      socket[Symbol.dispose]();
      await flooding;
    },
  })),
];
