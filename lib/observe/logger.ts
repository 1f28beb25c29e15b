/** Formats the server log: one line per event, as text or JSON. `server.ts` uses it over stderr. */
import type { LogFields, Logger, LogLevel } from "../core/logger.ts";
import { redact } from "../base/redact.ts";

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];
const MAX_DATA_LENGTH = 100;

/** How long lines wait for others after a write, in milliseconds: a write costs as much as several messages. */
const BATCH_MILLISECONDS = 20;

interface LineLoggerOptions {
  readonly format: "text" | "json";
  readonly level: LogLevel;
  /** Takes whole lines, each with its newline. */
  readonly write: (text: string) => void;
  /** Secrets to redact in every line, besides anything that looks like a credential. */
  readonly secrets?: readonly string[];
}

/**
 * Writes lines together: those of one turn of the event loop, and on a busy server those of 20 ms. Warnings and errors
 * do not wait for more than their turn.
 */
export class LineLogger implements Logger {
  readonly #write: (text: string) => void;
  readonly #format: (level: LogLevel, event: string, fields: LogFields) => string;
  readonly #least: number;
  readonly #secrets: readonly string[];
  #lines = "";
  #immediate: ReturnType<typeof setImmediate> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writtenAt = -Infinity;

  constructor(options: LineLoggerOptions) {
    this.#write = options.write;
    this.#format = options.format === "json" ? formatJson : formatText;
    this.#least = LEVELS.indexOf(options.level);
    this.#secrets = options.secrets ?? [];
  }

  write(level: LogLevel, event: string, fields: LogFields = {}): void {
    if (LEVELS.indexOf(level) >= this.#least) this.#add(level, event, fields);
  }

  /** Writes an event at every level, such as the port that was picked. */
  announce(event: string): void {
    this.#add("info", event, {});
  }

  #add(level: LogLevel, event: string, fields: LogFields): void {
    if (this.#immediate === undefined) this.#schedule(level === "warn" || level === "error");
    this.#lines += redact(this.#format(level, event, fields), this.#secrets) + "\n";
  }

  #schedule(isUrgent: boolean): void {
    if (this.#timer !== undefined && !isUrgent) return;
    const wait = this.#writtenAt + BATCH_MILLISECONDS - performance.now();
    if (isUrgent || wait <= 0) this.#immediate = setImmediate(() => this.flush());
    else this.#timer = setTimeout(() => this.flush(), wait);
  }

  /** Writes the collected lines now, as before an exit. */
  flush(): void {
    clearImmediate(this.#immediate);
    clearTimeout(this.#timer);
    this.#immediate = this.#timer = undefined;
    if (this.#lines === "") return;
    const lines = this.#lines;
    this.#lines = "";
    this.#writtenAt = performance.now();
    this.#write(lines);
  }
}

/**
 * A line of text: `client connected id=id1 name=John channel=news`. `data` follows a colon, truncated to 100 characters
 * and with control characters escaped: `message received: it rains`.
 */
export function formatText(level: LogLevel, event: string, fields: LogFields): string {
  const { data, ...others } = fields;
  let line = level === "warn" || level === "error" ? `${level}: ${event}` : event;
  if (data !== undefined) line += `: ${escapeControls(cut(String(data)))}`;
  else {
    for (const [key, value] of Object.entries(others)) {
      if (value !== undefined) line += ` ${key}=${formatValue(String(value))}`;
    }
  }
  return line;
}

/** A line of JSON: an object with time, level, event and the fields. */
export function formatJson(level: LogLevel, event: string, fields: LogFields): string {
  const { data, ...others } = fields;
  const shown = data === undefined ? others : { ...others, data: cut(String(data)) };
  // JSON escapes C0 alone, and these can stand in its strings only.
  return escapeControls(JSON.stringify({ time: new Date().toISOString(), level, event, ...shown }));
}

function cut(text: string): string {
  return text.length <= MAX_DATA_LENGTH ? text : text.slice(0, MAX_DATA_LENGTH - 1).toWellFormed() + "…";
}

/**
 * Control characters, the separators U+2028 and U+2029, and the bidirectional marks, embeddings and isolates: a message
 * must not forge, break or reorder lines where the log is looked at.
 */
const UNSAFE = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

const SHORT_ESCAPES: Readonly<Record<string, string>> = { "\n": "\\n", "\t": "\\t", "\r": "\\r" };

function escapeControls(text: string): string {
  return text.replace(
    UNSAFE,
    (control) => SHORT_ESCAPES[control] ?? `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function formatValue(value: string): string {
  return /^[\w\-.:/@~,;+*=]+$/.test(value) ? value : escapeControls(JSON.stringify(value));
}
