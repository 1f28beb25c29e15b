/** Gauges of the process: its version, memory, CPU time, file descriptors. `app.ts` adds them to the metrics. */
import { cpuUsage } from "node:process";
import type { Gauge } from "../core/metrics/metrics.ts";

const OPEN_FILES = "/proc/self/fd";

/** The names are those of the official Prometheus clients. */
export function createProcessGauges(
  { version, startedAt }: { readonly version: string; readonly startedAt: number },
): readonly Gauge[] {
  return [
    {
      name: "raindrops_build_info",
      help: "1, labelled with the version that runs",
      kind: "gauge",
      ofProcess: true,
      labels: { version },
      read: () => 1,
    },
    {
      name: "process_resident_memory_bytes",
      help: "Resident memory of the process",
      kind: "gauge",
      ofProcess: true,
      read: () => Deno.memoryUsage().rss,
    },
    {
      name: "process_heap_bytes",
      help: "Memory in use on the JavaScript heap",
      kind: "gauge",
      read: () => Deno.memoryUsage().heapUsed,
    },
    {
      name: "process_cpu_seconds_total",
      help: "CPU time used by the process",
      kind: "counter",
      ofProcess: true,
      read: readCpuSeconds,
    },
    {
      name: "process_open_fds",
      help: "Open file descriptors; needs --allow-all",
      kind: "gauge",
      ofProcess: true,
      read: countOpenFiles,
    },
    {
      name: "process_start_time_seconds",
      help: "When the server started, in seconds since 1970",
      kind: "gauge",
      ofProcess: true,
      read: () => startedAt / 1_000,
    },
  ];
}

/** CPU time this process has used, in seconds. */
export function readCpuSeconds(): number {
  const { user, system } = cpuUsage();
  return (user + system) / 1e6;
}

/** Undefined without --allow-all, which Deno requires to read /proc. */
function countOpenFiles(): number | undefined {
  try {
    // Reading without the permission would show a prompt on a terminal.
    if (Deno.permissions.querySync({ name: "read" }).state !== "granted") return undefined;
    return Deno.readDirSync(OPEN_FILES).reduce((count) => count + 1, 0);
  } catch {
    return undefined;
  }
}
