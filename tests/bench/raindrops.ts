/** Raindrops as the benchmark starts it: the real `server.ts`, with a log of its own. */
import { Server } from "./child.ts";

/** Where the server keeps its log: nowhere, in a file, or in a file with every commit forced to the disk. */
export type LogKind = "memory" | "sqlite normal" | "sqlite full";
export type ListenerKind = "deno" | "node";

export interface RaindropsOptions {
  readonly log?: LogKind;
  readonly listener?: ListenerKind;
  readonly workers?: number;
  /** Directory of the log and the rules, removed by its owner. Not needed for the memory log alone. */
  readonly directory?: string;
  /** Let the port be the one for MQTT. */
  readonly mqtt?: boolean;
  /** Keep all messages; otherwise the rules are the server's own. */
  readonly keepAll?: boolean;
  /** A file of webhooks. */
  readonly hooks?: string;
}

/** The app that Pusher's readers belong to. */
export const PUSHER_APP = { id: "1", key: "bench", secret: "secret" };

const PROJECT = new URL("../../", import.meta.url).pathname;
const PROGRAM = `${PROJECT}server.ts`;
const DATABASE = "raindrops.db";
const KEEP_ALL = [{ channels: "**", history: { messages: 1_000_000, seconds: 86_400 } }];

/** A temporary directory on the disk that the server would use. Disposing it removes it. */
export class DataDirectory implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<DataDirectory> {
    const data = `${PROJECT}data/`;
    await Deno.mkdir(data, { recursive: true });
    return new DataDirectory(await Deno.makeTempDir({ dir: data, prefix: "bench-" }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** Starts Raindrops. */
export async function startRaindrops(options: RaindropsOptions = {}): Promise<Server> {
  const { log = "memory", listener = "deno", workers = 1, directory = "" } = options;
  const { keepAll = false, mqtt = false, hooks } = options;
  const rules = `${directory}/rules.json`;
  if (keepAll) await Deno.writeTextFile(rules, JSON.stringify(KEEP_ALL));
  const server = await Server.start((port) => ({
    program: Deno.execPath(),
    args: [
      ...["run", "--allow-all", PROGRAM, "--host", "127.0.0.1"],
      ...mqtt ? ["--port", "0", "--mqtt-port", String(port)] : ["--port", String(port)],
      // At level info it logs every message.
      ...["--log-level", "error", "--engine", formatLogUrl(log, directory)],
      // The load generator sends nothing of its own accord, and must not be taken for dead.
      ...["--idle-timeout", "3600", "--ping-interval", "3600", "--pusher-activity-timeout", "3600"],
      ...keepAll ? ["--rules", rules] : [],
      ...hooks === undefined ? [] : ["--hooks", hooks],
      ...listener === "deno" ? [] : ["--listener", listener],
      ...workers === 1 ? [] : ["--workers", String(workers)],
    ],
    env: { RAINDROPS_PUSHER_APP: `${PUSHER_APP.id}:${PUSHER_APP.key}:${PUSHER_APP.secret}` },
  }));
  if (log !== "memory") await checkDatabase(server, directory);
  return server;
}

/** Guards against measuring another engine than the one that was asked for. */
async function checkDatabase(server: Server, directory: string): Promise<void> {
  try {
    await Deno.stat(`${directory}/${DATABASE}`);
  } catch (cause) {
    await server[Symbol.asyncDispose]();
    throw new Error("The server runs without the SQLite file it was started with", { cause });
  }
}

function formatLogUrl(log: LogKind, directory: string): string {
  switch (log) {
    case "memory":
      return "memory:";
    case "sqlite normal":
      return `sqlite:${directory}/${DATABASE}?synchronous=normal`;
    case "sqlite full":
      return `sqlite:${directory}/${DATABASE}?synchronous=full`;
  }
}
