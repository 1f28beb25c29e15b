/** The generator's event loop and its connections: synchronous, without promises. Jobs turn it until they are done. */
import { checkConnected, close, connect, Epoll, EPOLLIN, EPOLLOUT, receive, send, sleep } from "./libc.ts";

/** All connections read into the same buffer, as nothing is kept. */
const BUFFER = new Uint8Array(1024 * 1024);
/** How long a turn may wait for something to happen. */
const WAIT_MILLISECONDS = 100;

/** Naps shorter than this are not worth the system call; longer ones would be noticed. */
const SHORTEST_NAP_MICROSECONDS = 5;
const LONGEST_NAP_MICROSECONDS = 200;
/** How long nothing at all may happen before something is taken for lost. */
const SILENCE_MILLISECONDS = 5_000;

/** Takes what a connection has read: the first bytes of a buffer that the next read overwrites. */
export type Take = (buffer: Uint8Array<ArrayBuffer>, length: number) => void;

export class Poller {
  readonly #epoll = new Epoll();
  /** By file descriptor. */
  readonly #connections: (Connection | undefined)[] = [];
  #lastEvent = performance.now();
  readonly #dispatch = (fd: number, events: number) => {
    this.#lastEvent = 0;
    this.#connections[fd]?.handle(events);
  };

  /** Starts to connect to a port of this machine. */
  connect(port: number, take: Take, onEnd: () => void): Connection {
    const fd = connect(port);
    const watch = (events: number) => this.#epoll.change(fd, events);
    const connection = new Connection({ fd, watch, take, onEnd });
    this.#connections[fd] = connection;
    this.#epoll.add(fd, EPOLLIN | EPOLLOUT);
    return connection;
  }

  /**
   * Waits until something happens, but not for long, and lets the connections take it.
   *
   * Before that it sleeps through a part of what is under way. To wake a sleeper costs whoever sends to it a third of the
   * sending, which servers whose clients are elsewhere are spared, and much at once is read for less.
   *
   * @param pendingMicroseconds what is under way takes longer than this
   * @throws {Error} when nothing has happened for long
   */
  turn(pendingMicroseconds = 0, waitMilliseconds = WAIT_MILLISECONDS): void {
    const nap = Math.round(Math.min(pendingMicroseconds, LONGEST_NAP_MICROSECONDS));
    if (nap >= SHORTEST_NAP_MICROSECONDS) sleep(nap);
    this.#epoll.wait(waitMilliseconds, this.#dispatch);
    const now = performance.now();
    if (this.#lastEvent === 0) this.#lastEvent = now;
    else if (now - this.#lastEvent > SILENCE_MILLISECONDS) {
      throw new Error("The server fell silent: not everything arrived");
    }
  }
}

interface Wiring {
  readonly fd: number;
  readonly watch: (events: number) => void;
  readonly take: Take;
  readonly onEnd: () => void;
}

/** One TCP connection. */
export class Connection {
  /** Who takes what is read. */
  take: Take;
  readonly #wiring: Wiring;
  #connected = false;
  #unsent: Uint8Array<ArrayBuffer>[] = [];

  constructor(wiring: Wiring) {
    this.#wiring = wiring;
    this.take = wiring.take;
  }

  /** Writes bytes now, or as soon as there is room. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (!this.#connected || this.#unsent.length > 0) {
      this.#unsent.push(bytes);
      return;
    }
    const sent = send(this.#wiring.fd, bytes);
    if (sent === bytes.length) return;
    this.#unsent.push(bytes.subarray(sent));
    this.#wiring.watch(EPOLLIN | EPOLLOUT);
  }

  close(): void {
    close(this.#wiring.fd);
  }

  /** Does what epoll says is to be done. */
  handle(events: number): void {
    if (events & EPOLLOUT) this.#flush();
    if (events & ~EPOLLOUT) this.#read();
  }

  #read(): void {
    // One read a turn: epoll says again when there is more, and others have their turn meanwhile.
    const length = receive(this.#wiring.fd, BUFFER);
    if (length > 0) this.take(BUFFER, length);
    else this.#wiring.onEnd();
  }

  #flush(): void {
    if (!this.#connected) checkConnected(this.#wiring.fd);
    this.#connected = true;
    while (this.#unsent.length > 0) {
      const [bytes] = this.#unsent;
      const sent = send(this.#wiring.fd, bytes!);
      if (sent < bytes!.length) {
        this.#unsent[0] = bytes!.subarray(sent);
        return;
      }
      this.#unsent.shift();
    }
    this.#wiring.watch(EPOLLIN);
  }
}
