/** The real program as a child process on a free port: what the end-to-end tests open pages of. */

export interface ServerOptions {
  /** Flags beyond a memory log and a free port, such as `["--idle-timeout", "5"]`. */
  readonly flags?: readonly string[];
  /** 0, the default, picks a free one. */
  readonly port?: number;
  /** Deno's own flags, such as those of permissions; all permissions when left out. */
  readonly permissions?: readonly string[];
  /** Variables beyond those of the tests, such as `{ RAINDROPS_API_KEYS: "key" }`. */
  readonly env?: Readonly<Record<string, string>>;
}

/** How long a line of the log may take, and how many lines a failure shows. */
const LINE_MILLISECONDS = 30_000;
const LINES_SHOWN = 20;

const SERVER = new URL("../server.ts", import.meta.url);

/** Starts the server, and resolves when it has printed its URL. */
export async function startServer(options: ServerOptions = {}): Promise<ServerProcess> {
  const server = new ServerProcess(
    options.flags ?? [],
    options.port ?? 0,
    options.permissions ?? ["--allow-all"],
    options.env ?? {},
  );
  await server.start();
  return server;
}

/** One server, which can be stopped and started again on the port it had. Disposing it stops it. */
export class ServerProcess implements AsyncDisposable {
  /** What it wrote to its log, line by line, across restarts. */
  readonly lines: string[] = [];
  readonly #flags: readonly string[];
  readonly #permissions: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  #port: number;
  #isSecure = false;
  #child: Deno.ChildProcess | undefined;
  #logEnd = Promise.resolve();
  readonly #awaited = new Map<RegExp, (line: string) => void>();

  constructor(
    flags: readonly string[],
    port: number,
    permissions: readonly string[],
    env: Readonly<Record<string, string>>,
  ) {
    this.#flags = flags;
    this.#permissions = permissions;
    this.#env = env;
    this.#port = port;
  }

  get port(): number {
    return this.#port;
  }

  /** @throws {TypeError} while it does not run */
  get pid(): number {
    if (this.#child === undefined) throw new TypeError("The server does not run");
    return this.#child.pid;
  }

  /** `http://127.0.0.1:PORT`, or https where it has a certificate, without a slash at the end. */
  get url(): string {
    return `http${this.#isSecure ? "s" : ""}://127.0.0.1:${this.#port}`;
  }

  /** `ws://127.0.0.1:PORT`, or wss, without a slash at the end. */
  get socketUrl(): string {
    return `ws${this.#isSecure ? "s" : ""}://127.0.0.1:${this.#port}`;
  }

  /** Starts it again after {@linkcode stop} or {@linkcode kill}, on the same port. */
  async start(): Promise<void> {
    const flags = ["--port", String(this.#port), "--engine", "memory:", ...this.#flags];
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", ...this.#permissions, "--no-check", SERVER.href, ...flags],
      cwd: new URL(".", SERVER),
      env: this.#env,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const { promise, resolve } = Promise.withResolvers<number | undefined>();
    this.#logEnd = this.#readLog(this.#child.stderr, resolve);
    const port = await promise;
    if (port === undefined) {
      await this.ended();
      throw new Error(`The server ended before it was up:\n${this.lines.join("\n")}`);
    }
    this.#port = port;
  }

  /** Asks it to drain and waits until it has ended. */
  async stop(): Promise<Deno.CommandStatus | undefined> {
    return await this.#end("SIGTERM");
  }

  /** Ends it without a warning, like a crash. */
  async kill(): Promise<Deno.CommandStatus | undefined> {
    return await this.#end("SIGKILL");
  }

  /** Sends a signal and does not wait for what comes of it. */
  signal(signal: Deno.Signal): void {
    this.#child?.kill(signal);
  }

  /** Resolves when it has ended by itself, or by a signal. */
  async ended(): Promise<Deno.CommandStatus | undefined> {
    const status = await this.#child?.status;
    await this.#logEnd;
    return status;
  }

  /**
   * The first line of the log that matches, once it is there.
   *
   * @throws {Error} with the log, if no line matches in time
   */
  line(pattern: RegExp, milliseconds = LINE_MILLISECONDS): Promise<string> {
    const found = this.lines.find((line) => pattern.test(line));
    if (found !== undefined) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#awaited.delete(pattern);
        const log = this.lines.slice(-LINES_SHOWN).join("\n");
        reject(new Error(`No line of the log matches ${pattern} after ${milliseconds} ms:\n${log}`));
      }, milliseconds);
      this.#awaited.set(pattern, (line) => {
        clearTimeout(timer);
        resolve(line);
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #end(signal: Deno.Signal): Promise<Deno.CommandStatus | undefined> {
    const child = this.#child;
    if (child === undefined) return undefined;
    this.#child = undefined;
    try {
      child.kill(signal);
    } catch {
      // It has ended already.
    }
    const status = await child.status;
    await this.#logEnd;
    return status;
  }

  /** Collects the log, and tells the port once its URL appears, or undefined when the log ends before. */
  async #readLog(log: ReadableStream<Uint8Array>, onPort: (port: number | undefined) => void): Promise<void> {
    let unfinished = "";
    for await (const text of log.pipeThrough(new TextDecoderStream())) {
      const lines = (unfinished + text).split("\n");
      unfinished = lines.pop() ?? "";
      for (const line of lines) {
        this.lines.push(line);
        for (const [pattern, resolve] of this.#awaited) {
          if (pattern.test(line) && this.#awaited.delete(pattern)) resolve(line);
        }
        const [, secure, port] = /http(s?):\/\/(?:127\.0\.0\.1|localhost):(\d+)\//.exec(line) ?? [];
        if (port === undefined) continue;
        this.#isSecure = secure === "s";
        onPort(Number(port));
      }
    }
    onPort(undefined);
  }
}
