/** Scheduled messages of the memory and the SQLite engine across a long downtime; JetStream's are with its engine. */
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";
import { openSqliteEngine } from "../../lib/engines/sqlite/engine.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";
import { testDowntime } from "../suites/downtime_suite.ts";

testDowntime("memory", async (use) => {
  let kept: MemoryEngine | undefined;
  // It lives as long as its process: what dies is the scheduler.
  await use((options) => {
    if (kept === undefined) {
      kept = new MemoryEngine(options);
      kept[Symbol.asyncDispose] = () => Promise.resolve();
    }
    return Promise.resolve(kept);
  });
});

testDowntime("SQLite", async (use) => {
  const directory = await Deno.makeTempDir();
  const logger = new RecordingLogger();
  await use((options) =>
    Promise.resolve(openSqliteEngine({ ...options, path: `${directory}/log.db`, logger }))
  );
  await Deno.remove(directory, { recursive: true });
});
