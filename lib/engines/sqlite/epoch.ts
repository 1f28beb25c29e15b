/**
 * The life of a log: which epoch its messages are told under, and when that has to change because some that were
 * acknowledged may be lost. The SQLite engine begins a life at opening and ends it at closing.
 */
import { createEpoch } from "../stamp.ts";
import type { SqliteDatabase, Synchronous } from "./database.ts";

/**
 * When the machine was started, in milliseconds since 1970, give or take; undefined when it cannot be told, which
 * is so without the permission `--allow-sys=osUptime`.
 */
export function readBootTime(): number | undefined {
  // Asked for first, as Deno would else stop and ask the user.
  if (Deno.permissions.querySync({ name: "sys", kind: "osUptime" }).state !== "granted") return undefined;
  return Date.now() - Deno.osUptime() * 1_000;
}

/** Uptime counts whole seconds and clocks are set: boot times closer than this, in milliseconds, are the same. */
const BOOT_TOLERANCE = 5_000;

/** What `clean` says in a copy of the file. */
const COPY = 2;

/**
 * Notes in the file that it is in use, durably, and decides on the epoch. It goes on unless commits may be lost:
 * the log was not closed, its last process did not force them to the disk, and the machine was started since, or
 * nobody can tell whether it was. Better a gap that is none than a loss nobody hears of. A file that is a copy has a
 * new epoch always: clients know what was stored after it was made.
 *
 * Call it while every transaction is forced to the disk: a power cut must not undo the mark.
 *
 * @returns the epoch, and why it is a new one, if it is and the log is not new
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

/** Notes that the log was closed in order: all that was stored before is in the file. */
export function markCleanShutdown(database: SqliteDatabase): void {
  database.transact(() => database.prepare("UPDATE life SET clean = 1").run());
}

/**
 * Says in the file that it is a copy, while `commit` moves all that is stored there, and takes it back.
 *
 * @throws what `commit` or SQLite throws; the file may then say that it is a copy until the log is opened again
 */
export function markCopy(database: SqliteDatabase, commit: () => void): void {
  const mark = database.prepare("UPDATE life SET clean = ?");
  database.transact(() => mark.run(COPY));
  try {
    commit();
  } finally {
    database.transact(() => mark.run(0));
  }
}

function describeLoss(last: Record<string, unknown>, boot: number | null): string | undefined {
  if (last.clean === COPY) return "the file is a backup: later messages are not in it";
  return last.clean === 1 || last.synchronous === "full" ? undefined : describeBoot(last.boot, boot);
}

function describeBoot(last: unknown, now: number | null): string | undefined {
  if (typeof last !== "number" || now === null) {
    return "the server was not stopped in order, and without --allow-sys=osUptime it cannot tell whether the " +
      "machine was: the last messages may be lost";
  }
  if (Math.abs(now - last) <= BOOT_TOLERANCE) return undefined;
  return "the machine was not stopped in order: the last messages may be lost";
}
