/** One worker thread, as the pool of the main thread sees it: starting it, talking to it, its end. */
import { getHeapStatistics } from "node:v8";
import { type MessagePort as NodePort, Worker as Thread } from "node:worker_threads";
import type { App } from "../app.ts";
import type { Config } from "../config/config.ts";
import { listFilesRead } from "../config/setting_file.ts";
import { announceGone } from "../core/cluster/topics.ts";
import { MetricsShare } from "../core/metrics/difference.ts";
import type { Metrics } from "../core/metrics/metrics.ts";
import { type SharedLimitMemory, SharedLimitStates } from "../core/shared_limit_states.ts";
import type { EngineHost } from "../engines/mod.ts";
import type { LineLogger } from "../observe/logger.ts";
import { answerForwarded } from "./forward.ts";
import { StartError } from "./listen.ts";
import { StreamLink } from "./stream_link.ts";
import type { Order, Word, WorkerData } from "./wire.ts";

const THREAD = new URL("./thread.ts", import.meta.url);

/** How long the reports of all workers may take when somebody asks for the metrics. */
const REPORT_MILLISECONDS = 1_000;
/** A worker that says nothing for so long is stuck; it reports every second. */
const SILENCE_MILLISECONDS = 15_000;
/** So is one that does not listen so long after its start, which takes a fraction of a second on a core of its own. */
const START_MILLISECONDS = 60_000;
/** How long a worker gets to end its thread after everything in it is closed. */
const LAST_MILLISECONDS = 500;

export interface PoolOptions {
  readonly config: Config;
  readonly workers: number;
  readonly logger: LineLogger;
  readonly metrics: Metrics;
  /** The module of a worker; `thread.ts` unless a test has one that can be told to die. */
  readonly thread?: URL;
  /** The most memory for the objects of a worker; what a process may have if left out. */
  readonly heapMegabytes?: number;
  /** How long a worker may take to start, in milliseconds; a minute if left out. */
  readonly startMilliseconds?: number;
  /** Takes log lines that workers have formatted. */
  readonly writeLines: (lines: string) => void;
}

/** What the pool shares with its workers. */
export interface PoolContext extends PoolOptions {
  readonly process: string;
  readonly limits: SharedLimitMemory;
  readonly host: EngineHost;
  readonly app: App;
}

/** One worker thread, as the pool sees it. */
export class PoolWorker {
  readonly number: number;
  #startedAt = performance.now();
  /** When it last said something. */
  #heardAt = performance.now();
  readonly share: MetricsShare;
  /** Resolves when its app is open; rejects if it dies before. */
  readonly ready: Promise<void>;
  readonly #context: PoolContext;
  /** Its id as a node. */
  readonly node: string = crypto.randomUUID();
  readonly #thread: Thread;
  readonly #port: MessagePort;
  readonly #detach: () => void;
  readonly #onDeath: (reason: string) => void;
  readonly #isReady = Promise.withResolvers<void>();
  readonly #isListening = Promise.withResolvers<{ readonly hostname: string; readonly port: number }>();
  readonly #isClosed = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<void>();
  readonly #streams = new StreamLink((word) => this.order({ kind: "stream", word }));
  readonly #reports = new Map<number, () => void>();
  #report = 0;
  #hasOpened = false;
  #hasListened = false;
  /** Its thread ends when it has closed everything. */
  #isClosing = false;
  #isGone = false;

  constructor(context: PoolContext, number: number, onDeath: (reason: string) => void) {
    this.#context = context;
    this.number = number;
    this.#onDeath = onDeath;
    this.share = new MetricsShare(context.metrics);
    this.ready = this.#isReady.promise;
    this.#isListening.promise.catch(() => {});
    const engine = new MessageChannel();
    const pool = new MessageChannel();
    this.#port = pool.port1;
    this.#port.onmessage = ({ data }: MessageEvent<Word>) => this.#hear(data);
    this.#detach = context.host.attach(engine.port1);
    const { config, process, limits } = context;
    const workerData: WorkerData = {
      config: { ...config, reusePort: true },
      node: this.node,
      process,
      number,
      limits,
      files: listFilesRead(),
      enginePort: engine.port2,
      poolPort: pool.port2,
    };
    this.#thread = new Thread(context.thread ?? THREAD, {
      name: `worker ${number}`,
      workerData,
      transferList: [engine.port2, pool.port2] as unknown as NodePort[],
      // What a process may have: a thread that needs more dies alone.
      resourceLimits: {
        maxOldGenerationSizeMb: context.heapMegabytes ??
          Math.floor(getHeapStatistics().heap_size_limit / 2 ** 20),
      },
    });
    this.#thread.on("error", (error) => this.#die(describeDeath(error)));
    this.#thread.on("exit", (code) => {
      if (this.#isClosing && code === 0) this.#leave();
      else {
        this.#die(
          code === 1 ? "the runtime ended it, as when memory runs out" : `it ended with status ${code}`,
        );
      }
      this.#exited.resolve();
    });
  }

  /** Whether its app is open: it tells others who is there. */
  get hasOpened(): boolean {
    return this.#hasOpened;
  }

  get hasListened(): boolean {
    return this.#hasListened;
  }

  /** Milliseconds since it was started. */
  age(now: number): number {
    return now - this.#startedAt;
  }

  /** Does not count some milliseconds, in which nobody listened, as silence. */
  excuse(milliseconds: number): void {
    this.#heardAt += milliseconds;
    this.#startedAt += milliseconds;
  }

  /** Ends its thread if it is stuck: its clients reconnect to others. */
  endIfStuck(now: number): void {
    const { startMilliseconds = START_MILLISECONDS } = this.#context;
    const [isStuck, what] = this.#hasListened
      ? [now - this.#heardAt > SILENCE_MILLISECONDS, `answer for ${SILENCE_MILLISECONDS / 1_000}`]
      : [this.age(now) > startMilliseconds, `start within ${startMilliseconds / 1_000}`];
    if (!isStuck) return;
    // The runtime ends no thread in the middle of a computation, however long that takes.
    this.#die(`it did not ${what} seconds: unless its thread ends, restart the server`);
    void this.#thread.terminate();
  }

  order(order: Order): void {
    if (!this.#isGone) this.#port.postMessage(order);
  }

  /** @param listOthers the ids of the nodes that it is to know before it serves, as they are when it could */
  async listen(
    port: number,
    listOthers: () => readonly string[],
  ): Promise<{ readonly hostname: string; readonly port: number }> {
    await this.ready;
    // It may have waited for another one to find out the port.
    this.#startedAt = performance.now();
    this.order({ kind: "listen", port, others: listOthers() });
    return await this.#isListening.promise;
  }

  /** Has it report what it has counted; resolves without, if that takes too long. */
  async report(): Promise<void> {
    if (this.#isGone || !this.#hasListened) return;
    const id = ++this.#report;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#reports.set(id, resolve);
    const timer = setTimeout(resolve, REPORT_MILLISECONDS);
    this.order({ kind: "report", id });
    await promise;
    clearTimeout(timer);
    this.#reports.delete(id);
  }

  /** Has it close its connections and its app, then ends its thread. */
  async close(deadline: number): Promise<void> {
    this.#isClosing = true;
    this.order({ kind: "close", deadline });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) =>
      timer = setTimeout(resolve, deadline + 2 * LAST_MILLISECONDS)
    );
    await Promise.race([this.#isClosed.promise, late]);
    clearTimeout(timer);
    await this.end();
  }

  /** Ends its thread, whatever it does. */
  async end(): Promise<void> {
    if (!this.#isGone) {
      this.#leave();
      void this.#thread.terminate();
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, LAST_MILLISECONDS));
    await Promise.race([this.#exited.promise, late]);
    clearTimeout(timer);
  }

  #hear(word: Word): void {
    const { app, writeLines, logger } = this.#context;
    this.#heardAt = performance.now();
    switch (word.kind) {
      case "ready":
        this.#hasOpened = true;
        return this.#isReady.resolve();
      case "listening":
        this.#hasListened = true;
        return this.#isListening.resolve(word);
      case "lines":
        // What this thread has logged before comes before.
        logger.flush();
        return writeLines(word.lines);
      case "metrics":
        this.share.add(word.report);
        if (word.id !== undefined) this.#reports.get(word.id)?.();
        return;
      case "request":
        answerForwarded(app, this.#streams, word.id, word.request).then((answer) => {
          this.order({ kind: "answer", id: word.id, answer });
          if (this.#isGone) this.#streams[Symbol.dispose]();
        });
        return;
      case "stream":
        return this.#streams.hear(word.word);
      case "closed":
        return this.#isClosed.resolve();
      case "failed":
        // First, as ending the thread tells at once that it is over, and not why.
        this.#die(word.reason);
        return void this.#thread.terminate();
    }
  }

  #die(reason: string): void {
    if (this.#isGone) return;
    this.#leave();
    const error = new StartError(reason);
    this.#isReady.reject(error);
    this.#isListening.reject(error);
    this.#onDeath(reason);
  }

  /** Undoes what the process remembers of it: its clients, its connections, its port to the engine. */
  #leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    const { host, limits } = this.#context;
    this.#detach();
    if (host.log.bus !== undefined) announceGone(host.log.bus, this.node);
    SharedLimitStates.release(limits, this.number);
    this.share.leave();
    this.#streams[Symbol.dispose]();
    for (const resolve of this.#reports.values()) resolve();
    this.#isClosed.resolve();
    this.#port.close();
  }
}

function describeDeath(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ("code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY") return "it ran out of memory";
  return error.stack ?? error.message;
}
