/**
 * Memory that is alive: what V8 holds once it was made to collect all garbage. Without that, the size of a heap tells
 * little: V8 collects when it likes, on a busy machine minutes later.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Has V8 collect all garbage of the test's own process, now. */
export function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc()");
}

/** What is alive in the test's own process, in bytes: on the heap and in the buffers that it refers to. */
export function readOwnLiveBytes(): number {
  collectGarbage();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** Deno's flag that lets {@linkcode readLiveBytes} ask a server, on a free port. */
export const INSPECTOR_FLAG = "--inspect=127.0.0.1:0";

/** What is alive in a server that was started with {@linkcode INSPECTOR_FLAG}, in bytes, as {@linkcode readOwnLiveBytes}. */
export async function readLiveBytes(server: { line(pattern: RegExp): Promise<string> }): Promise<number> {
  const [url = ""] = /ws:\S+/.exec(await server.line(/^Debugger listening on ws:/)) ?? [];
  const socket = new WebSocket(url);
  const closed = new Promise<void>((resolve) => socket.onclose = () => resolve());
  const ended = closed.then(() => Promise.reject(new Error(`The inspector at ${url} has gone`)));
  try {
    await Promise.race([new Promise((resolve) => socket.onopen = resolve), ended]);
    await Promise.race([ask(socket, "HeapProfiler.collectGarbage"), ended]);
    const usage = await Promise.race([ask(socket, "Runtime.getHeapUsage"), ended]);
    return usage.usedSize! + usage.backingStorageSize!;
  } finally {
    ended.catch(() => {});
    // A server that is asked to stop waits for that.
    socket.close();
    await closed;
  }
}

/** Asks as the Chrome DevTools Protocol says. */
function ask(socket: WebSocket, method: string): Promise<Readonly<Record<string, number>>> {
  return new Promise((resolve, reject) => {
    socket.onmessage = ({ data }) => {
      const { result, error } = JSON.parse(data);
      if (error === undefined) resolve(result);
      else reject(new Error(`${method}: ${error.message}`));
    };
    socket.send(JSON.stringify({ id: 1, method }));
  });
}
