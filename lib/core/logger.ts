/** The Logger port: one event, one line. What the lines look like is `lib/logger.ts`'s business. */

export type LogLevel = "debug" | "info" | "warn" | "error";

/** Values beside an event. Undefined ones are left out. Never a token, key or other secret. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  /** Writes one event, such as `client connected`, with its fields. */
  write(level: LogLevel, event: string, fields?: LogFields): void;
}
