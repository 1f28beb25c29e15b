/** The terminal client: says Hello every 3 seconds and prints what comes back. Run by `deno task hello [URL]`. */
import { formatTask } from "../base/task.ts";

/** A channel of its own: whoever opens the Hello example is not to meet a Hello every three seconds. */
const DEFAULT_URL = "ws://localhost:8000/hello/terminal";

const USAGE = `Usage: ${formatTask("hello", Deno.execPath())} [URL]

Says Hello every 3 seconds on a channel, and prints what comes back; ${DEFAULT_URL} when URL is left out.`;

const PAUSE_MILLISECONDS = 3_000;
const LONGEST_RETRY_MILLISECONDS = 30_000;

/** Why there is no connection, and what to do, from what the runtime says of it. */
function describeFailure(url: string, message: string): string {
  const reason = message.replace(/^NetworkError: failed to connect to WebSocket: /, "");
  const task = (name: string) => formatTask(name, Deno.execPath());
  return /status code/.test(reason)
    ? `What answers at ${url} refuses the WebSocket (${reason}): it may need a token, or be no Raindrops`
    : `No server answers at ${url} (${reason}): start one with ${task("start")}, or name another: ${
      task("hello")
    } ${DEFAULT_URL}`;
}

/** Holds one connection until it ends. Resolves to whether it was ever open. */
function talk(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    let opened = false;
    let timer: ReturnType<typeof setInterval> | undefined;
    const socket = new WebSocket(url);
    socket.onopen = () => {
      opened = true;
      console.log("Connected");
      socket.send("Hello");
      timer = setInterval(() => socket.send("Hello"), PAUSE_MILLISECONDS);
    };
    socket.onmessage = ({ data }) => console.log(`Received: ${data}`);
    socket.onerror = (event) => {
      event.preventDefault();
      if (!opened) {
        console.error(describeFailure(url, event instanceof ErrorEvent ? event.message : "no reason given"));
      }
    };
    socket.onclose = ({ code, reason }) => {
      clearInterval(timer);
      if (opened) console.log(`Disconnected: ${code}${reason && ` ${reason}`}`);
      resolve(opened);
    };
  });
}

/** Connects, and reconnects whenever the connection ends, with exponential backoff and jitter. */
async function run(url: string): Promise<never> {
  let pause = 0;
  while (true) {
    pause = await talk(url) ? 500 : Math.min(Math.max(pause, 500) * 2, LONGEST_RETRY_MILLISECONDS);
    const wait = pause * (0.5 + Math.random() / 2);
    console.log(`Connecting to ${url} again in ${(wait / 1_000).toFixed(1)} s`);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

if (import.meta.main) {
  const url = Deno.args[0] ?? DEFAULT_URL;
  if (url === "--help" || url === "-h") {
    console.log(USAGE);
    Deno.exit(0);
  }
  if (!URL.canParse(url) || !/^(ws|http)s?:$/.test(new URL(url).protocol)) {
    console.error(`${JSON.stringify(url)} is not a WebSocket URL: write it like ${DEFAULT_URL}\n\n${USAGE}`);
    Deno.exit(2);
  }
  await run(url);
}
