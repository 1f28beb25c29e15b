/** Servers of several threads. `server.ts` asks how many there are to be, and opens a pool where it is more than one. */
import type { Config } from "../config/config.ts";
import type { Logger } from "../core/logger.ts";

export { describeStartError, openListener, StartError } from "./listen.ts";

/** How many threads serve: what is asked for, and one where the system cannot share a port among threads. */
export function countWorkers({ workers }: Config, logger: Logger, os: string = Deno.build.os): number {
  const wanted = workers === "auto" ? navigator.hardwareConcurrency : workers;
  if (wanted <= 1) return 1;
  if (os === "linux") return wanted;
  logger.write(
    "warn",
    `One worker instead of ${wanted}: threads cannot share a port on ${os}, only on Linux`,
  );
  return 1;
}
