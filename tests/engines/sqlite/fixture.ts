/** What the tests of the SQLite engine share: a directory that goes away, logs in it, and a process that appends. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { selectChannel } from "../../../lib/core/channel.ts";
import type { Log, LogPage } from "../../../lib/core/log.ts";
import { type RuleEntry, Rules } from "../../../lib/core/rules.ts";
import {
  openSqliteEngine,
  type SqliteEngine,
  type SqliteEngineOptions,
} from "../../../lib/engines/sqlite/engine.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";

/** Keeps everything any test appends. */
export const KEEP_ALL: RuleEntry = { channels: "**", history: { messages: 1_000_000 } };

export class TemporaryDirectory implements AsyncDisposable {
  readonly path = Deno.makeTempDirSync();
  readonly logger = new RecordingLogger();

  /** A file in it. */
  file(name = "log.db"): string {
    return join(this.path, name);
  }

  open(
    options: Partial<SqliteEngineOptions> & { readonly entries?: readonly RuleEntry[] } = {},
  ): SqliteEngine {
    const { entries = [KEEP_ALL], ...rest } = options;
    return openSqliteEngine({ path: this.file(), logger: this.logger, rules: new Rules(entries), ...rest });
  }

  /** Opens the file while no log has it, and runs SQL on it. */
  query(sql: string, name = "log.db"): Record<string, unknown>[] {
    const database = new DatabaseSync(this.file(name));
    try {
      return database.prepare(sql).all();
    } finally {
      database.close();
    }
  }

  /** Leaves the file as a process that was killed leaves it: open, with its last commits beside it. */
  async kill(log: SqliteEngine): Promise<void> {
    const crashed = this.file("crashed");
    await Deno.mkdir(crashed);
    for (const name of ["log.db", "log.db-wal"]) await Deno.copyFile(this.file(name), join(crashed, name));
    await log[Symbol.asyncDispose]();
    for (const name of ["log.db", "log.db-wal"]) await Deno.rename(join(crashed, name), this.file(name));
    await Deno.remove(crashed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

export function readAll(log: Log, channel = "news"): Promise<LogPage> {
  return log.read({ selector: selectChannel(channel), after: { kind: "earliest" }, limit: 1_000_000 });
}

export async function readTexts(log: Log, channel = "news"): Promise<string[]> {
  const { messages } = await readAll(log, channel);
  return messages.map(({ payload }) => payload.kind === "bytes" ? "(bytes)" : payload.text);
}

/**
 * Runs `child.ts` until it has printed so many lines, then kills it.
 *
 * @param flags what Deno may do in it
 * @returns the whole lines it printed
 */
export async function runChild(
  args: readonly string[],
  lines: number,
  flags = ["--allow-all"],
): Promise<string[]> {
  const script = new URL("./child.ts", import.meta.url).href;
  await using child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...flags, script, ...args],
    stdout: "piped",
  }).spawn();
  let output = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    output += text;
    // What is printed until it dies is read to the end.
    if (output.split("\n").length > lines) killQuietly(child);
  }
  return output.split("\n").slice(0, -1);
}

function killQuietly(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // It has ended.
  }
}
