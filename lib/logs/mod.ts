/** The registry of log engines, by URL scheme. */
import type { Log } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import type { Rules } from "../core/rules.ts";
import { MemoryLog } from "./memory.ts";

export function parseLogUrl(url: string): void {
  if (url !== "memory:" && !url.startsWith("sqlite:")) throw new SyntaxError("use memory:");
}

export function openLog(_url: string, options: { rules: Rules; logger: Logger }): Promise<Log> {
  return Promise.resolve(new MemoryLog(options));
}
