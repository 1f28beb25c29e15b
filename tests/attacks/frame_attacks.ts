/** Attacks by those whose WebSocket handshake was fine. */
import assert from "node:assert/strict";
import { createFrame, RawSocket } from "../raw_socket.ts";
import type { Attack, Target } from "./attack.ts";

const MEGABYTE = 1024 * 1024;

/** Reads until the server has closed the socket, and checks the code it gave. */
async function expectClose(socket: RawSocket, code: number, { saysWhy }: Target): Promise<void> {
  const received = await socket.readUntil(CLOSE_FRAME);
  const [, given] = CLOSE_FRAME.exec(received) ?? [];
  if (saysWhy || given !== undefined) assert.equal(given, toCharacters(code), received.slice(-100));
}

/** A close frame of the server: opcode 8, a length, a code from 1000 to 1023. */
// deno-lint-ignore no-control-regex -- a frame is made of such
const CLOSE_FRAME = /\u02c6[^](\u0003[^])/;

/** The two bytes of a close code, as a raw socket shows them. */
function toCharacters(code: number): string {
  return new TextDecoder("windows-1252").decode(Uint8Array.of(code >> 8, code & 0xff));
}

/** Sends frames to a WebSocket of its own and expects to be closed with the code. */
function sendFrames(frames: Uint8Array, code: number): (target: Target) => Promise<void> {
  return async (target) => {
    using socket = await RawSocket.upgrade(target.port, "/attacked");
    await socket.write(frames);
    await expectClose(socket, code, target);
  };
}

function join(...frames: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(frames.flatMap((frame) => [...frame]));
}

/** Floods from a WebSocket without reading, until the server hangs up or stops reading or the bytes have left. */
function flood(frame: Uint8Array, most: number): Attack["run"] {
  return async ({ port }) => {
    using socket = await RawSocket.upgrade(port, "/attacked");
    const flooding = socket.flood(frame, most);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise((resolve) => timer = setTimeout(resolve, 2_000));
    await Promise.race([flooding, patience]);
    clearTimeout(timer);
    socket[Symbol.dispose]();
    await flooding;
  };
}

const INVALID_UTF8: readonly (readonly number[])[] = [
  [0xff],
  [0xc0, 0xaf],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xe2, 0x82],
];

export const FRAME_ATTACKS: readonly Attack[] = [
  {
    name: "a message of fragments without an end",
    async run(target) {
      using socket = await RawSocket.upgrade(target.port, "/attacked");
      const closed = expectClose(socket, 1009, target);
      closed.catch(() => {});
      await socket.write(createFrame(2, "", { bits: 0 }));
      await socket.flood(createFrame(0, new Uint8Array(MEGABYTE), { bits: 0 }), 256 * MEGABYTE);
      await closed;
    },
  },
  {
    name: "a message of fragments that hold nothing",
    async run({ port }) {
      using socket = await RawSocket.upgrade(port, "/attacked");
      const received = socket.readToEnd();
      await socket.write(createFrame(2, "", { bits: 0 }));
      const empty = createFrame(0, "", { bits: 0 });
      const many = new Uint8Array(empty.length * 10_000);
      for (let i = 0; i < 10_000; i++) many.set(empty, i * empty.length);
      await socket.flood(many, 100_000 * empty.length);
      socket[Symbol.dispose]();
      await received;
    },
  },
  {
    name: "a frame that announces 100 MB",
    async run(target) {
      using socket = await RawSocket.upgrade(target.port, "/attacked");
      const closed = expectClose(socket, 1009, target);
      closed.catch(() => {});
      await socket.write(createFrame(2, "", { announced: 100 * MEGABYTE }));
      await socket.flood(new Uint8Array(MEGABYTE), 100 * MEGABYTE);
      await closed;
    },
  },
  {
    name: "frames that announce more than there are bytes in the world",
    async run({ port }) {
      for (const announced of [2 ** 53, 2 ** 62]) {
        using socket = await RawSocket.upgrade(port, "/attacked");
        await socket.write(createFrame(2, "x", { announced }));
        await socket.readToEnd();
      }
    },
  },
  {
    name: "messages of 32 MB",
    async run(target) {
      for (const opcode of [1, 2]) {
        using socket = await RawSocket.upgrade(target.port, "/attacked");
        const closed = expectClose(socket, 1009, target);
        closed.catch(() => {});
        await socket.flood(createFrame(opcode, new Uint8Array(32 * MEGABYTE).fill(97)), 1);
        await closed;
      }
    },
  },
  ...INVALID_UTF8.map((bytes) => ({
    name: `text of the bytes ${bytes.map((byte) => byte.toString(16)).join(" ")}, which are not UTF-8`,
    run: sendFrames(createFrame(1, Uint8Array.from(bytes)), 1007),
  })),
  {
    name: "text whose fragments are not UTF-8 together",
    run: sendFrames(
      join(createFrame(1, Uint8Array.of(0xe2), { bits: 0 }), createFrame(0, Uint8Array.of(0x28))),
      1007,
    ),
  },
  {
    name: "reserved opcodes",
    async run(target) {
      for (const opcode of [3, 7, 11, 15]) await sendFrames(createFrame(opcode, "x"), 1002)(target);
    },
  },
  {
    name: "reserved bits, which are those of compressed frames too",
    async run(target) {
      for (const bits of [0xc0, 0xa0, 0x90]) await sendFrames(createFrame(1, "x", { bits }), 1002)(target);
    },
  },
  { name: "unmasked frames", run: sendFrames(createFrame(1, "x", { isMasked: false }), 1002) },
  {
    name: "control frames that are fragmented or too long",
    async run(target) {
      await sendFrames(createFrame(9, "x", { bits: 0 }), 1002)(target);
      await sendFrames(createFrame(9, "x".repeat(126)), 1002)(target);
      await sendFrames(createFrame(8, Uint8Array.of(3)), 1002)(target);
    },
  },
  {
    name: "close codes that nobody may send",
    async run({ port }) {
      for (const code of [0, 999, 1005, 1006, 1015, 65_535]) {
        using socket = await RawSocket.upgrade(port, "/attacked");
        await socket.write(createFrame(8, Uint8Array.of(code >> 8, code & 0xff)));
        await socket.readToEnd();
      }
    },
  },
  {
    name: "endless pings whose answers nobody reads",
    run: flood(manyOf(createFrame(9, "x".repeat(125))), 64 * MEGABYTE),
  },
  { name: "endless pongs", run: flood(manyOf(createFrame(10, "x".repeat(125))), 16 * MEGABYTE) },
  {
    name: "endless questions whose answers nobody reads",
    run: flood(manyOf(createFrame(1, "/help")), 4 * MEGABYTE),
  },
  {
    name: "sockets that stay and answer no ping",
    async run({ port }) {
      const open = new DisposableStack();
      for (let i = 0; i < 50; i++) open.use(await RawSocket.upgrade(port, "/attacked"));
      return open;
    },
  },
  {
    name: "sockets that stay and answer no close frame",
    async run(target) {
      const open = new DisposableStack();
      for (let i = 0; i < 50; i++) {
        const socket = open.use(await RawSocket.upgrade(target.port, "/attacked"));
        await socket.write(createFrame(1, "x".repeat(70_000)));
        await expectClose(socket, 1009, target);
      }
      return open;
    },
  },
];

/** The same frame many times: fewer writes for the attacker. */
function manyOf(frame: Uint8Array): Uint8Array {
  const many = new Uint8Array(frame.length * 500);
  for (let i = 0; i < 500; i++) many.set(frame, i * frame.length);
  return many;
}
