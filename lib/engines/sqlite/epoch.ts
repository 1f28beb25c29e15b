/**
 * Decides on the epoch of the SQLite engine: it changes when acknowledged messages may have been lost. For that, the file
 * records whether it was closed cleanly, and when the machine had been started.
 */
import { createEpoch } from "../stamp.ts";
import type { SqliteDatabase, Synchronous } from "./database.ts";

/**
 * The approximate time when the machine was started, in milliseconds since 1970; undefined without the permission
 * `--allow-sys=osUptime`.
 */
export function readBootTime(): number | undefined {
  // Checked first, as Deno would otherwise prompt the user.
  if (Deno.permissions.querySync({ name: "sys", kind: "osUptime" }).state !== "granted") return undefined;
  return Date.now() - Deno.osUptime() * 1_000;
}

/** Boot times that differ by less, in milliseconds, are the same: uptime is in whole seconds, and clocks are adjusted. */
const BOOT_TOLERANCE = 5_000;

/** The value of `clean` in a copy of the file. */
const COPY = 2;

/**
 * Marks the file durably as in use, and decides on the epoch. The epoch is renewed if commits may have been lost: the
 * file was not closed cleanly, its last process did not flush every commit, and the machine has been restarted since, or
 * may have been. A false gap is better than an unnoticed loss. A copy of the file always gets a new epoch, because
 * clients know messages that were stored after the copy was made.
 *
 * Call it while every commit is flushed to the disk, so that a power failure cannot undo the mark.
 *
 * @returns the epoch, and in `renewed` why an existing file got a new one
 */
export function resumeEpoch(
  database: SqliteDatabase,
  synchronous: Synchronous,
  bootTime: number | undefined,
): { readonly epoch: string; readonly renewed: string | undefined } {
  return database.transact(() => {
    const last = database.prepare("SELECT epoch, clean, synchronous, boot FROM life").get();
    const boot = bootTime === undefined ? null : Math.round(bootTime);
    if (last === undefined) {
      const epoch = createEpoch();
      database.prepare("INSERT INTO life VALUES (?, 0, ?, ?)").run(epoch, synchronous, boot);
      return { epoch, renewed: undefined };
    }
    const renewed = describeLoss(last, boot);
    const epoch = renewed === undefined ? String(last.epoch) : createEpoch();
    database.prepare("UPDATE life SET epoch = ?, clean = 0, synchronous = ?, boot = ?")
      .run(epoch, synchronous, boot);
    return { epoch, renewed };
  });
}

/** Marks the file as closed cleanly: everything stored before is in it. */
export function markCleanShutdown(database: SqliteDatabase): void {
  database.transact(() => database.prepare("UPDATE life SET clean = 1").run());
}

/**
 * Marks the file as a copy while `checkpoint` moves all commits into it, and removes the mark again.
 *
 * @throws errors of `checkpoint` or SQLite; the file may then stay marked until it is opened again
 */
export function markCopy(database: SqliteDatabase, checkpoint: () => void): void {
  const mark = database.prepare("UPDATE life SET clean = ?");
  database.transact(() => mark.run(COPY));
  try {
    checkpoint();
  } finally {
    database.transact(() => mark.run(0));
  }
}

function describeLoss(last: Record<string, unknown>, boot: number | null): string | undefined {
  if (last.clean === COPY) return "the file is a backup: later messages are not in it";
  return last.clean === 1 || last.synchronous === "full" ? undefined : describeRestart(last.boot, boot);
}

function describeRestart(last: unknown, now: number | null): string | undefined {
  if (typeof last !== "number" || now === null) {
    return "the server was not shut down cleanly, and without --allow-sys=osUptime it cannot tell whether the machine " +
      "was restarted: the last messages may be lost";
  }
  if (Math.abs(now - last) <= BOOT_TOLERANCE) return undefined;
  return "the machine was not shut down cleanly: the last messages may be lost";
}
