/** Which program the process is and what it takes of the machine, for `/metrics` and the inspector. `app.ts` adds it to its metrics. */
import { cpuUsage } from "node:process";
import type { Gauge } from "../core/metrics/metrics.ts";

const OPEN_FILES = "/proc/self/fd";

/** Names are those every Prometheus client uses. */
export function createProcessGauges(
  { version, startedAt }: { readonly version: string; readonly startedAt: number },
): readonly Gauge[] {
  return [
    {
      name: "raindrops_build_info",
      help: "1, labelled with the version that runs",
      kind: "gauge",
      labels: { version },
      read: () => 1,
    },
    {
      name: "process_resident_memory_bytes",
      help: "Memory the process holds",
      kind: "gauge",
      read: () => Deno.memoryUsage().rss,
    },
    {
      name: "process_heap_bytes",
      help: "Memory JavaScript uses",
      kind: "gauge",
      read: () => Deno.memoryUsage().heapUsed,
    },
    { name: "process_cpu_seconds_total", help: "CPU time used", kind: "counter", read: readCpuSeconds },
    {
      name: "process_open_fds",
      help: "Open file descriptors, where the process may look (--allow-all)",
      kind: "gauge",
      read: countOpenFiles,
    },
    {
      name: "process_start_time_seconds",
      help: "When the server started, in seconds since 1970",
      kind: "gauge",
      read: () => startedAt / 1_000,
    },
  ];
}

/** CPU time this process has used, in seconds. */
export function readCpuSeconds(): number {
  const { user, system } = cpuUsage();
  return (user + system) / 1e6;
}

/** Deno shows /proc only to those who may do everything. */
function countOpenFiles(): number | undefined {
  try {
    // Asked for without a permission, a terminal would show a prompt.
    if (Deno.permissions.querySync({ name: "read" }).state !== "granted") return undefined;
    return Deno.readDirSync(OPEN_FILES).reduce((count) => count + 1, 0);
  } catch {
    return undefined;
  }
}
