/** Makes drafts: the one place where what a publisher hands in is checked, whatever protocol it came by. */
import { directChannel } from "./channel.ts";
import { MessagingError } from "./errors.ts";
import { type Draft, type MessageProperties, type Payload, payloadSize, type Sender } from "./message.ts";
import { checkTags, type Tags } from "./tags.ts";

/** Longest event name and idempotency key, in characters, and longest time to live, in seconds. */
export const MAX_EVENT_LENGTH = 200;
export const MAX_KEY_LENGTH = 255;
/** Longest key of a map, in characters. */
export const MAX_MAP_KEY_LENGTH = 255;
export const MAX_TTL_SECONDS = 10 * 365 * 24 * 60 * 60;

/** Event names that are the server's own in an event stream, or EventSource's own in a browser. */
const RESERVED_EVENTS: ReadonlySet<string> = new Set(["begin", "gap", "removed", "open", "error"]);

/** What a publisher asks for. Names are checked: the channel's by `parseChannel`, the client's by `parseClientId`. */
export interface DraftOptions {
  /** Left out of a message to one client. */
  readonly channel?: string | undefined;
  readonly payload: Payload;
  readonly event?: string | undefined;
  readonly from?: Sender | undefined;
  readonly socketId?: string | undefined;
  readonly to?: string | undefined;
  readonly ttl?: number | undefined;
  readonly ephemeral?: boolean | undefined;
  readonly idempotencyKey?: string | undefined;
  /** See `Draft`. Protocols make it up: clients cannot choose it. */
  readonly marker?: string | undefined;
  /** Whose the idempotency key is; everybody's who publishes without credentials if left out. */
  readonly publisher?: string | undefined;
  /** What else the publisher said, for telling a retry from another message with the same key. */
  readonly remark?: string | undefined;
  readonly properties?: MessageProperties | undefined;
  /** Whose share it counts for if it is retained or sets a key, as `Shares.ownerOf` says. */
  readonly owner?: string | undefined;
  readonly tags?: Tags | undefined;
  /** The key of the channel's map that it sets or, with `removed`, removes. */
  readonly key?: string | undefined;
  readonly removed?: boolean | undefined;
}

/**
 * Checks what a publisher asks for.
 *
 * @throws {MessagingError} `bad_option` or `bad_body`, saying what is allowed
 */
export function createDraft(options: DraftOptions): Draft {
  const { to, payload, event, from, socketId, ttl, ephemeral, idempotencyKey } = options;
  const channel = options.channel ?? (to === undefined ? undefined : directChannel(to));
  if (channel === undefined) throw new TypeError("A draft needs a channel or a client");
  if (to !== undefined && ttl !== undefined) {
    throw new MessagingError("bad_option", `A message for one client is not kept: leave out "ttl"`);
  }
  checkText(payload, from);
  const draft: { -readonly [K in keyof Draft]: Draft[K] } = { channel, payload };
  if (event !== undefined) draft.event = checkEvent(event);
  if (from !== undefined) draft.from = from;
  if (socketId !== undefined) draft.socketId = socketId;
  if (to !== undefined) draft.to = to;
  if (ttl !== undefined) draft.ttl = checkTtl(ttl);
  if (ephemeral !== undefined) draft.ephemeral = ephemeral;
  const { properties, owner } = options;
  if (properties !== undefined) draft.properties = properties;
  const tags = options.tags && checkTags(options.tags);
  if (tags !== undefined) draft.properties = { ...draft.properties, user: tags };
  if (options.key !== undefined) draft.properties = { ...draft.properties, ...readMapKey(options) };
  else if (options.removed) throw new MessagingError("bad_option", "What is removed is a key: name one");
  const isKept = draft.properties?.retain === true || options.key !== undefined;
  if (isKept && owner !== undefined) draft.properties = { ...draft.properties, owner };
  if (idempotencyKey !== undefined) {
    draft.idempotencyKey = JSON.stringify([options.publisher ?? "", checkKey(idempotencyKey)]);
    draft.fingerprint = describeOptions(draft, options.remark);
  }
  if (options.marker !== undefined) draft.marker = options.marker;
  return draft;
}

/**
 * Checks the size of a message.
 *
 * @param limit in bytes
 * @returns its bytes
 * @throws {MessagingError} `too_large`
 */
export function checkSize(payload: Payload, limit: number): number {
  const size = payloadSize(payload);
  if (size <= limit) return size;
  throw new MessagingError(
    "too_large",
    `The message has ${size} bytes and the limit is ${limit}: send less, or raise --max-message-bytes`,
  );
}

/** Half a surrogate pair has no UTF-8: some doors could hand it on, others would change it in silence. */
function checkText(payload: Payload, from: Sender | undefined): void {
  if (payload.kind !== "bytes" && !payload.text.isWellFormed()) {
    throw new MessagingError(
      "bad_body",
      "The message has half a surrogate pair, which is no text: send the whole character, or bytes",
    );
  }
  if (from === undefined) return;
  for (const text of [from.id, from.name, from.user, from.info]) {
    if (text?.isWellFormed() === false) {
      throw new MessagingError("bad_option", "The sender has half a surrogate pair in its name or id");
    }
  }
}

/**
 * What a draft says beside its payload. The sender is left out: the key says whose it is, and an id may be a new random
 * one, a name another one, when the message is sent again.
 */
function describeOptions(draft: Draft, remark: string | undefined): string {
  const { event, to, ttl, ephemeral = false, properties } = draft;
  const { user, key, removed } = properties ?? {};
  const rest = key === undefined ? user === undefined ? [] : [user] : [user ?? null, key, removed ?? false];
  return JSON.stringify([event, to, ttl, ephemeral, remark, ...rest]);
}

function readMapKey({ key = "", removed, to, ttl, ephemeral }: DraftOptions): MessageProperties {
  if (key === "" || key.length > MAX_MAP_KEY_LENGTH || /[\p{Cc}\p{Cs}]/u.test(key)) {
    throw new MessagingError(
      "bad_option",
      `key must be 1 to ${MAX_MAP_KEY_LENGTH} characters of text without control characters`,
    );
  }
  if (to !== undefined || ephemeral === true) {
    throw new MessagingError("bad_option", "What sets a key is stored: leave out ephemeral and to");
  }
  if (removed !== true) return { key };
  if (ttl !== undefined) throw new MessagingError("bad_option", "A key is removed for good: leave out ttl");
  return { key, removed };
}

function checkEvent(event: string): string {
  // A line end would forge fields of an event stream.
  if (event === "" || event.length > MAX_EVENT_LENGTH || /[\p{Cc}\p{Cs}]/u.test(event)) {
    throw new MessagingError(
      "bad_option",
      `event must be 1 to ${MAX_EVENT_LENGTH} characters of text without control characters`,
    );
  }
  if (RESERVED_EVENTS.has(event)) {
    throw new MessagingError("bad_option", `The event name "${event}" is taken: choose another`);
  }
  return event;
}

function checkTtl(seconds: number): number {
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_TTL_SECONDS) return seconds;
  throw new MessagingError(
    "bad_option",
    `ttl must be a whole number of seconds from 1 to ${MAX_TTL_SECONDS}, such as 300`,
  );
}

function checkKey(key: string): string {
  if (key.length >= 1 && key.length <= MAX_KEY_LENGTH && key.isWellFormed()) return key;
  throw new MessagingError("bad_option", `Idempotency-Key must have 1 to ${MAX_KEY_LENGTH} characters`);
}
