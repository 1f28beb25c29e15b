/**
 * The system calls that the load generator is made of, by way of the C library. A runtime's own sockets cost about as
 * much to read from as the server's cost to write to; these cost a tenth of it. Linux only.
 */

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_QUICKACK = 12;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const EAGAIN = 11;
const EINPROGRESS = 115;
/** A peer that is gone must show as an error, not end the process. */
const MSG_NOSIGNAL = 0x4000;

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_MOD = 3;
export const EPOLLIN = 1;
export const EPOLLOUT = 4;

// The kernel packs struct epoll_event on x86-64 alone.
const EVENT_SIZE = Deno.build.arch === "x86_64" ? 12 : 16;
const EVENT_DATA = EVENT_SIZE - 8;
const MOST_EVENTS = 1_024;

// Counts stay far below 2^31: 32-bit results spare the detour over BigInt.
const { symbols: c } = Deno.dlopen("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  usleep: { parameters: ["u32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
});

/** Starts to connect to a port of this machine, and returns the file descriptor. */
export function connect(port: number): number {
  const fd = check("socket", c.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  check("setsockopt", c.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, new Int32Array([1]), 4));
  const address = new DataView(new ArrayBuffer(16));
  address.setUint16(0, AF_INET, true);
  address.setUint16(2, port);
  address.setUint32(4, 0x7f000001);
  if (c.connect(fd, address.buffer, 16) < 0 && readErrno() !== EINPROGRESS) throw systemError("connect");
  return fd;
}

/** @throws {Error} when connecting failed */
export function checkConnected(fd: number): void {
  const value = new Int32Array(1);
  check("getsockopt", c.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, new Uint32Array([4])));
  if (value[0] !== 0) throw new Error(`connect: error ${value[0]}`);
  // Acknowledging each small segment at once would cost the generator as much as sending it costs the server.
  check("setsockopt", c.setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, new Int32Array([0]), 4));
}

/** Reads what is there; 0 when the other end has ended the connection. */
export function receive(fd: number, buffer: Uint8Array<ArrayBuffer>): number {
  return check("recv", c.recv(fd, buffer, BigInt(buffer.byteLength), 0));
}

/** Writes as much as fits, which may be nothing, and returns how much that was. */
export function send(fd: number, bytes: Uint8Array<ArrayBuffer>): number {
  const count = c.send(fd, bytes, BigInt(bytes.byteLength), MSG_NOSIGNAL);
  return count < 0 && readErrno() === EAGAIN ? 0 : check("send", count);
}

export function close(fd: number): void {
  c.close(fd);
}

/** Sleeps through whatever happens. */
export function sleep(microseconds: number): void {
  c.usleep(microseconds);
}

/** What waits for file descriptors: epoll, level-triggered. */
export class Epoll {
  readonly #fd = check("epoll_create1", c.epoll_create1(0));
  readonly #events = new Uint8Array(MOST_EVENTS * EVENT_SIZE);
  readonly #view = new DataView(this.#events.buffer);

  add(fd: number, events: number): void {
    this.#control(EPOLL_CTL_ADD, fd, events);
  }

  change(fd: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events);
  }

  /** Waits for events, and hands over each. */
  wait(milliseconds: number, take: (fd: number, events: number) => void): void {
    const count = check("epoll_wait", c.epoll_wait(this.#fd, this.#events, MOST_EVENTS, milliseconds));
    for (let i = 0; i < count; i++) {
      const start = i * EVENT_SIZE;
      take(this.#view.getInt32(start + EVENT_DATA, true), this.#view.getUint32(start, true));
    }
  }

  #control(operation: number, fd: number, events: number): void {
    const event = new DataView(new ArrayBuffer(EVENT_SIZE));
    event.setUint32(0, events, true);
    event.setInt32(EVENT_DATA, fd, true);
    check("epoll_ctl", c.epoll_ctl(this.#fd, operation, fd, event.buffer));
  }
}

function check(call: string, result: number): number {
  if (result < 0) throw systemError(call);
  return result;
}

function systemError(call: string): Error {
  return new Error(`${call}: error ${readErrno()}`);
}

function readErrno(): number {
  const location = c.__errno_location();
  return location === null ? 0 : new Deno.UnsafePointerView(location).getInt32();
}
