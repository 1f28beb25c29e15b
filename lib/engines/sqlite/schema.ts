/** The schema of the SQLite engine's file, as the list of steps that lead to it. `file.ts` takes them. */

/** Marks a file as a log of ours, in SQLite's header: "rain". */
export const APPLICATION_ID = 0x7261696e;

/**
 * Step `i` turns schema version `i` into `i + 1`; the file keeps its version as SQLite's `user_version`. Steps are
 * only ever added: files of every version are out there.
 *
 * Which offsets and sequences were ever given follows from what is stored and what `channels` says was removed,
 * so that storing a message writes a row and no counter.
 *
 * Text that may hold a NUL character is in columns of type ANY: see `bindText`.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE life (
    epoch TEXT NOT NULL,
    -- 1 from an orderly end to the next start, 2 in a backup.
    clean INTEGER NOT NULL,
    -- How the last process to open the file wrote to it.
    synchronous TEXT NOT NULL,
    -- When that process's machine was started, in milliseconds since 1970; NULL when it could not tell.
    boot INTEGER
  ) STRICT;

  CREATE TABLE channels (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- The newest message that was removed: 0 when none was.
    removed_offset INTEGER NOT NULL DEFAULT 0,
    removed_sequence INTEGER NOT NULL DEFAULT 0,
    removed_time INTEGER NOT NULL DEFAULT 0
  ) STRICT;

  CREATE TABLE messages (
    sequence INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    time INTEGER NOT NULL,
    expires INTEGER,
    kind INTEGER NOT NULL,
    data ANY NOT NULL,
    event ANY,
    sender_id ANY,
    sender_name ANY,
    socket_id ANY
  ) STRICT;

  -- Ends in the sequence, as every index does: reads one channel in order. Offsets rise with the sequence and are
  -- found by halving; an index of their own would cost half the write rate over many channels.
  CREATE INDEX messages_by_channel ON messages (channel);
  CREATE INDEX messages_by_expiry ON messages (expires, channel) WHERE expires IS NOT NULL;

  CREATE TABLE receipts (
    channel TEXT NOT NULL,
    key ANY NOT NULL,
    sequence INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    time INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (channel, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX receipts_by_expiry ON receipts (expires);
  `,
  `
  ALTER TABLE messages ADD COLUMN sender_user ANY;
  ALTER TABLE messages ADD COLUMN sender_info ANY;
  `,
];
