/** A Logger that keeps what it is told, for tests to look at. */
import type { LogFields, Logger, LogLevel } from "../../lib/core/logger.ts";

export class RecordingLogger implements Logger {
  readonly entries: { readonly level: LogLevel; readonly event: string; readonly fields: LogFields }[] = [];

  #waiting: (() => void)[] = [];

  write(level: LogLevel, event: string, fields: LogFields = {}): void {
    this.entries.push({ level, event, fields });
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves once an event was logged so many times: the lines of worker threads come a moment later. */
  async reach(event: string, count: number): Promise<readonly LogFields[]> {
    while (this.find(event).length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.find(event);
  }

  /** The fields of every entry of one event. */
  find(event: string): readonly LogFields[] {
    return this.entries.filter((entry) => entry.event === event).map((entry) => entry.fields);
  }
}
