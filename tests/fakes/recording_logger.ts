/** A Logger that keeps what it is told, for tests to look at. */
import type { LogFields, Logger, LogLevel } from "../../lib/core/logger.ts";

export class RecordingLogger implements Logger {
  readonly entries: { readonly level: LogLevel; readonly event: string; readonly fields: LogFields }[] = [];

  write(level: LogLevel, event: string, fields: LogFields = {}): void {
    this.entries.push({ level, event, fields });
  }

  /** The fields of every entry of one event. */
  find(event: string): readonly LogFields[] {
    return this.entries.filter((entry) => entry.event === event).map((entry) => entry.fields);
  }
}
