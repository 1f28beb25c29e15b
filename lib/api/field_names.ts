/**
 * The fields that each method of the HTTP API knows: those that it reads, and those that Centrifugo's own method has, so
 * that its client libraries work unchanged. Any other is refused: it is a misspelt one.
 */

const PAYLOAD = ["data", "b64data"];

const PUBLISH = [
  ...PAYLOAD,
  "skip_history",
  "tags",
  "idempotency_key",
  "delta",
  "version",
  "version_epoch",
  "at",
  "delay",
  "key",
  "removed",
];

/** Which clients a command is for. */
const CHOICE = ["user", "client", "session", "all_users", "label_filter"];

export const BATCH_FIELDS: readonly string[] = ["commands", "parallel"];

export const POSITION_FIELDS: readonly string[] = ["offset", "epoch"];

export const END_FIELDS: readonly string[] = ["code", "reason"];

export const FILTER_FIELDS: readonly string[] = ["op", "key", "cmp", "val", "vals", "nodes"];

export const METHOD_FIELDS: Readonly<Record<string, readonly string[]>> = {
  publish: ["channel", ...PUBLISH],
  broadcast: ["channels", ...PUBLISH],
  subscribe: ["channel", ...CHOICE, "expire_at", "info", "b64info", ...PAYLOAD, "recover_since", "override"],
  unsubscribe: ["channel", ...CHOICE],
  disconnect: [...CHOICE, "disconnect", "whitelist"],
  refresh: [...CHOICE, "expired", "expire_at", "info", "b64info"],
  presence: ["channel"],
  presence_stats: ["channel"],
  history: ["channel", "limit", "since", "reverse"],
  history_remove: ["channel"],
  channels: ["pattern", "limit", "cursor"],
  info: [],
  map_publish: ["channel", ...PUBLISH, "key_mode", "score", "stream_data", "b64stream_data"],
  map_remove: ["channel", ...PUBLISH],
  map_read_state: ["channel", "limit", "cursor", "key", "asc", "revision_offset", "revision_epoch"],
  map_stats: ["channel"],
  map_clear: ["channel"],
  scheduled: ["channel", "limit"],
  cancel_scheduled: ["id"],
};
