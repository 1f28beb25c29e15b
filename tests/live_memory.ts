/**
 * Memory that is alive: what V8 holds once it was made to collect all garbage. Without that, the size of a heap tells
 * little: V8 collects when it likes, on a busy machine minutes later.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What is alive in the test's own process, in bytes: on the heap and in the buffers that it refers to. */
export function readOwnLiveBytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc()");
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** Deno's flag that lets an {@linkcode Inspector} in, on a free port. */
export const INSPECTOR_FLAG = "--inspect=127.0.0.1:0";

type Method = "HeapProfiler.collectGarbage" | "Runtime.getHeapUsage";

/** The inspector of a server that was started with {@linkcode INSPECTOR_FLAG}. */
export class Inspector implements Disposable {
  readonly #socket: WebSocket;
  #count = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  static async open(server: { line(pattern: RegExp): Promise<string> }): Promise<Inspector> {
    const [url = ""] = /ws:\S+/.exec(await server.line(/^Debugger listening on ws:/)) ?? [];
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onclose = () => reject(new Error(`There is no inspector at ${url}`));
    });
    return new Inspector(socket);
  }

  /** What is alive in the server, in bytes: on the heap and in the buffers that it refers to. */
  async readLiveBytes(): Promise<number> {
    await this.#ask("HeapProfiler.collectGarbage");
    const usage = await this.#ask("Runtime.getHeapUsage");
    return Number(usage.usedSize) + Number(usage.backingStorageSize);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  /** Asks as the Chrome DevTools Protocol says. */
  async #ask(method: Method): Promise<Readonly<Record<string, unknown>>> {
    const id = ++this.#count;
    return await new Promise((resolve, reject) => {
      this.#socket.onclose = () => reject(new Error(`The server has ended before ${method} was answered`));
      this.#socket.onmessage = ({ data }) => {
        const answer = JSON.parse(data);
        if (answer.id !== id) return;
        if (answer.error === undefined) resolve(answer.result);
        else reject(new Error(`${method}: ${answer.error.message}`));
      };
      this.#socket.send(JSON.stringify({ id, method }));
    });
  }
}
