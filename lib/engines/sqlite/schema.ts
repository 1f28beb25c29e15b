/** The schema of the SQLite engine's file, as a list of migrations. `file.ts` applies them. */

/** Marks a file as ours in SQLite's header: "rain". */
export const APPLICATION_ID = 0x7261696e;

/**
 * Migration `i` turns schema version `i` into `i + 1`; the version of a file is its `user_version`. Never change a
 * migration: files of every version exist.
 *
 * The newest offset and sequence ever assigned follow from the stored messages and from what `channels` and `floor` say was
 * removed, so that storing a message writes a row and no counter.
 *
 * Text that may contain a NUL character is in columns of type ANY: see `bindText`.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE life (
    epoch TEXT NOT NULL,
    -- 1 after a clean shutdown, 2 in a backup, 0 while in use.
    clean INTEGER NOT NULL,
    -- The setting of the last process that opened the file.
    synchronous TEXT NOT NULL,
    -- When that process's machine was started, in milliseconds since 1970; NULL if unknown.
    boot INTEGER
  ) STRICT;

  CREATE TABLE channels (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- The newest message that was removed; 0 if none was.
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

  -- Like every index it ends in the rowid, the sequence: it reads one channel in order. Offsets rise with the sequence
  -- and are found by binary search; an index on them would halve the write rate over many channels.
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
  `
  -- When a message was stored by the clock for deadlines, in milliseconds since 1970: its age counts from then. NULL in
  -- rows of older versions, whose age counts from their time.
  ALTER TABLE messages ADD COLUMN since INTEGER;
  `,
  `
  -- CRC-32 of what a message says: SQLite does not notice a flipped bit in a row. NULL in rows of older versions.
  ALTER TABLE messages ADD COLUMN checksum INTEGER;
  `,
  `
  -- What services remember, such as how far each webhook has got.
  CREATE TABLE state (
    key TEXT PRIMARY KEY,
    value ANY NOT NULL,
    revision INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- What the message of a key said: the key is refused with another message. NULL in rows of older versions.
  ALTER TABLE receipts ADD COLUMN fingerprint TEXT;
  `,
  `
  -- What MQTT says of a message, as JSON.
  ALTER TABLE messages ADD COLUMN properties ANY;
  `,
  `
  -- The newest message that was removed by itself; 0 if none was. Nobody misses it, but its offset is not given again.
  ALTER TABLE channels ADD COLUMN taken_back_offset INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE channels ADD COLUMN taken_back_sequence INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE channels ADD COLUMN taken_back_time INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- What is left of channels that were forgotten, by a hash of the name: the newest offset, and the newest message that was
  -- removed.
  CREATE TABLE forgotten (
    hash INTEGER PRIMARY KEY,
    offset INTEGER NOT NULL,
    removed_offset INTEGER NOT NULL,
    removed_sequence INTEGER NOT NULL,
    removed_time INTEGER NOT NULL
  ) STRICT;

  -- One row: where any other unknown channel begins, and the newest sequence, time and channel that were forgotten.
  CREATE TABLE floor (
    offset INTEGER NOT NULL,
    removed_offset INTEGER NOT NULL,
    removed_sequence INTEGER NOT NULL,
    removed_time INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    time INTEGER NOT NULL,
    channel INTEGER NOT NULL
  ) STRICT;
  INSERT INTO floor VALUES (0, 0, 0, 0, 0, 0, 0);
  `,
  `
  -- The messages of each channel, in place of an index: see channel_index.ts.
  CREATE TABLE channel_index (
    channel INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (channel, sequence)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO channel_index SELECT channel, sequence FROM messages ORDER BY channel, sequence;
  DROP INDEX messages_by_channel;

  -- One row: the messages up to this sequence are entered, and as many entries there are.
  CREATE TABLE indexed (
    sequence INTEGER NOT NULL,
    entries INTEGER NOT NULL
  ) STRICT;
  INSERT INTO indexed SELECT coalesce(max(sequence), 0), count(*) FROM channel_index;
  `,
];
