/** The Logger port: one event is one line. `observe/logger.ts` formats the lines. */

export type LogLevel = "debug" | "info" | "warn" | "error";

/** The values of an event. Undefined ones are omitted. Never pass a token, key or other secret. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  /** Writes one event, such as `client connected`, with its fields. */
  write(level: LogLevel, event: string, fields?: LogFields): void;
}
