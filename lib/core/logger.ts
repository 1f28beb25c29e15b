/** The Logger port: one event is one line. `observe/logger.ts` formats the lines. */

/** How much an event matters. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** The values of an event. Undefined ones are omitted. Never pass a token, key or other secret. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Takes events. It never throws. */
export interface Logger {
  /** Writes one event, such as `client connected`, with its fields. */
  write(level: LogLevel, event: string, fields?: LogFields): void;
}
