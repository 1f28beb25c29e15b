/**
 * A worker thread: a listener and an app whose engine is in the main thread. `pool.ts` starts it with what it needs, and
 * replaces it if it dies.
 */
import { getHeapStatistics } from "node:v8";
import { workerData } from "node:worker_threads";
import { type App, createApp, OPENERS } from "../app.ts";
import { listSecrets } from "../config/config.ts";
import { useFilesRead } from "../config/setting_file.ts";
import { MetricsDifference } from "../core/metrics/difference.ts";
import { Metrics } from "../core/metrics/metrics.ts";
import { SharedLimitStates } from "../core/shared_limit_states.ts";
import { openWorkerEngine } from "../engines/mod.ts";
import type { Logger } from "../core/logger.ts";
import type { Listener } from "../listeners/mod.ts";
import { LineLogger } from "../observe/logger.ts";
import { catchUnexpected } from "../observe/unexpected.ts";
import { Forwarder, isOfProcess } from "./forward.ts";
import { describeStartError, openListener, StartError } from "./listen.ts";
import { StreamLink } from "./stream_link.ts";
import type { Order, Word, WorkerData } from "./wire.ts";

/** Milliseconds between two reports of what was counted. */
const REPORT_MILLISECONDS = 1_000;
/** How long a worker that starts waits for the others to tell it who is there: a busy one must not keep it from serving. */
const LEARN_MILLISECONDS = 5_000;

const { config, node, process, number, limits, files, enginePort, poolPort } = workerData as WorkerData;

const tell = (word: Word) => poolPort.postMessage(word);
const logger = new LineLogger({
  format: config.logFormat,
  level: config.logLevel,
  secrets: listSecrets(config),
  write: (lines) => tell({ kind: "lines", lines }),
});
const metrics = new Metrics();
catchUnexpected(logger, metrics);
useFilesRead(files);

const difference = new MetricsDifference(metrics);
const report = (id?: number) => tell({ kind: "metrics", id, report: difference.take() });
const streams = new StreamLink((word) => tell({ kind: "stream", word }));
const forwarder = new Forwarder(streams, (id, request) => tell({ kind: "request", id, request }));
let listener: Listener | undefined;
let isOpen = false;
let isClosing = false;

// What an operator should know at start the main thread has said; what only workers open, the first one tells.
const quiet: Logger = {
  write(level, event, fields) {
    const isKnown = number > 1 ? listener === undefined : !isOpen && level === "warn";
    if (!isKnown || level === "error") logger.write(level, event, fields);
  },
};

function openApp(): Promise<App> {
  const place = { node, process, limitStates: new SharedLimitStates(limits, number) };
  const openers: typeof OPENERS = {
    ...OPENERS,
    openEngine: () => openWorkerEngine(enginePort),
    // The main thread sends webhooks and reports metrics for all.
    openWebhooks: () => Promise.resolve(undefined),
    openPush: () => Promise.resolve(undefined),
    async openTelemetry(metrics) {
      const telemetry = await OPENERS.openTelemetry(metrics);
      return telemetry && { ...telemetry, reportMetrics: () => {} };
    },
  };
  return createApp(config, quiet, metrics, openers, place);
}

/** Else it would answer that nobody is there, and give away ids that are taken. */
async function learn(app: App, others: readonly string[]): Promise<void> {
  const missing = await app.cluster?.untilKnown(others, LEARN_MILLISECONDS) ?? [];
  if (missing.length === 0 || isClosing) return;
  const reason = `${missing.length} of ${others.length} did not tell within ${LEARN_MILLISECONDS / 1_000} s`;
  logger.write("warn", "worker does not know all clients yet", { worker: number, reason });
}

async function listen(app: App, port: number): Promise<void> {
  const mounted = new Set(app.paths);
  const fetch: App["fetch"] = (request, peer) =>
    isOfProcess(request, mounted) ? forwarder.forward(request, peer) : app.fetch(request, peer);
  listener = await openListener({ ...config, port, reusePort: true }, quiet, fetch, app.metrics);
  tell({ kind: "listening", hostname: listener.hostname, port: listener.port });
}

async function close(app: App, deadline: number): Promise<void> {
  isClosing = true;
  await listener?.close(deadline);
  await app[Symbol.asyncDispose]();
  clearInterval(timer);
  report();
  logger.flush();
  tell({ kind: "closed" });
  poolPort.close();
}

/** Whatever fails here is for the operator, who reads it from the main thread. */
function fail(error: unknown): void {
  logger.flush();
  tell({ kind: "failed", reason: describeStartError(error) });
}

/**
 * Whether memory has run out. The runtime then breaks off what was being done, wherever that was, and raises the limit:
 * unless it was a timer, the thread goes on, with who knows what left undone.
 */
function hasRunOut(): boolean {
  return getHeapStatistics().heap_size_limit > heapLimit;
}

const heapLimit = getHeapStatistics().heap_size_limit;
const timer = setInterval(() => {
  if (hasRunOut()) fail(new StartError("it ran out of memory"));
  else report();
}, REPORT_MILLISECONDS);
const opened = openApp();
opened.then(() => {
  isOpen = true;
  tell({ kind: "ready" });
}, fail);

poolPort.onmessage = async ({ data: order }: MessageEvent<Order>) => {
  if (order.kind === "answer") return forwarder.settle(order.id, order.answer);
  if (order.kind === "stream") return streams.hear(order.word);
  if (order.kind === "report") return report(order.id);
  try {
    const app = await opened;
    if (order.kind === "listen") {
      await learn(app, order.others);
      if (!isClosing) await listen(app, order.port);
    } else if (order.kind === "drain") app.drain();
    else await close(app, order.deadline);
  } catch (error) {
    fail(error);
  }
};
