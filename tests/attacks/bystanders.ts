/** People who use the server while it is attacked: messages must keep flowing between them, with no loss. */
import assert from "node:assert/strict";
import { RawSocket } from "../raw_socket.ts";
import type { ServerProcess } from "../server_process.ts";
import { TestSocket } from "../test_socket.ts";

const CHANNEL = "/bystanders";

/** Messages that are on their way at a time. */
const BURST = 10;

/** One who publishes, and two who read: by WebSocket and by event stream. They go on until they are stopped. */
export class Bystanders implements AsyncDisposable {
  readonly #publisher: TestSocket;
  readonly #subscriber: TestSocket;
  readonly #stream: RawSocket;
  readonly #streamed: Promise<string>;
  #count = 0;
  #stopped = false;
  readonly #flow: Promise<void>;

  private constructor(publisher: TestSocket, subscriber: TestSocket, stream: RawSocket) {
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    this.#stream = stream;
    this.#streamed = stream.readUntil("data: the end");
    this.#flow = this.#run();
    this.#flow.catch(() => {});
  }

  static async open({ port, socketUrl }: ServerProcess): Promise<Bystanders> {
    const stream = await RawSocket.open(port);
    await stream.write(`GET ${CHANNEL} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n`);
    await stream.readUntil("retry:");
    const subscriber = await TestSocket.open(socketUrl + CHANNEL);
    return new Bystanders(await TestSocket.open(socketUrl + CHANNEL), subscriber, stream);
  }

  /** Stops after another few messages, and checks that each reader got each message once and in order. */
  async check(): Promise<void> {
    this.#stopped = true;
    await this.#flow;
    this.#publisher.send("the end");
    assert.equal(await this.#next(), "the end");
    const numbers = [...(await this.#streamed).matchAll(/^data: message (\d+)$/gm)].map(([, n]) => Number(n));
    assert.deepEqual(numbers, Array.from({ length: this.#count }, (_, i) => i), "the event stream's");
  }

  async #run(): Promise<void> {
    do {
      const first = this.#count;
      for (let i = 0; i < BURST; i++) this.#publisher.send(`message ${this.#count++}`);
      for (let i = 0; i < BURST; i++) assert.equal(await this.#next(), `message ${first + i}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    } while (!this.#stopped);
  }

  async #next(): Promise<string | Uint8Array> {
    const closed = this.#subscriber.closed.then(({ code }) =>
      assert.fail(`A bystander was closed with ${code}`)
    );
    return await Promise.race([this.#subscriber.next(), closed]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#flow.catch(() => {});
    this.#stream[Symbol.dispose]();
    await this.#publisher[Symbol.asyncDispose]();
    await this.#subscriber[Symbol.asyncDispose]();
  }
}
