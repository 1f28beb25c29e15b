/**
 * Tags: texts by name that a publisher puts beside the payload, for subscribers to filter by. They are the user
 * properties of MQTT by another name. Every door reads and checks them here.
 */
import { jsonKind, type JsonMembers } from "../base/json_text.ts";
import { utf8Length } from "../base/utf8.ts";
import { MessagingError } from "./errors.ts";
import type { Message } from "./message.ts";

/** Most tags of one message, longest name in characters, and most bytes of all names and values. */
export const MAX_TAGS = 64;
export const MAX_TAG_NAME_LENGTH = 100;
export const MAX_TAGS_BYTES = 8_192;

/** Texts by name. */
export type Tags = ReadonlyMap<string, string>;

/**
 * The tags that a JSON object spells: every value must be a string.
 *
 * @throws {MessagingError} `bad_option`
 */
export function readTags(members: JsonMembers): Tags {
  const tags = new Map<string, string>();
  for (const [name, json] of members) {
    if (jsonKind(json) !== "string") {
      throw new MessagingError("bad_option", "tags must be an object whose values are strings");
    }
    tags.set(name, JSON.parse(json));
  }
  return tags;
}

/**
 * Checks tags, and makes what a draft keeps of them; undefined for none.
 *
 * @throws {MessagingError} `bad_option`, saying what is allowed
 */
export function checkTags(tags: Tags): readonly (readonly [string, string])[] | undefined {
  if (tags.size === 0) return undefined;
  if (tags.size > MAX_TAGS) {
    throw new MessagingError("bad_option", `A message has at most ${MAX_TAGS} tags`);
  }
  let bytes = 0;
  for (const [name, value] of tags) {
    if (name === "" || name.length > MAX_TAG_NAME_LENGTH) {
      throw new MessagingError(
        "bad_option",
        `The name of a tag must have 1 to ${MAX_TAG_NAME_LENGTH} characters`,
      );
    }
    // MQTT allows neither NUL nor halves of surrogate pairs, and clients may end a connection for other controls.
    if (/[\p{Cc}\p{Cs}]/u.test(`${name} ${value}`)) {
      throw new MessagingError("bad_option", "Tags must be text without control characters");
    }
    bytes += utf8Length(name) + utf8Length(value);
  }
  if (bytes > MAX_TAGS_BYTES) {
    throw new MessagingError(
      "bad_option",
      `The tags have ${bytes} bytes and the limit is ${MAX_TAGS_BYTES}: put what is long into the data`,
    );
  }
  return [...tags];
}

/** The tags of a message; the last of those with one name, as MQTT allows several. Undefined for none. */
export function listTags({ properties }: Pick<Message, "properties">): Tags | undefined {
  const user = properties?.user;
  return user === undefined || user.length === 0 ? undefined : new Map(user);
}

/** The tags of a message as clients see them who have no other word for its event: that is the tag `event`. */
export function listTagsWithEvent(message: Pick<Message, "properties" | "event">): Tags | undefined {
  const tags = listTags(message);
  if (message.event === undefined) return tags;
  return new Map([...tags ?? [], ["event", message.event]]);
}

/** Tags as the text of a JSON object. */
export function encodeTags(tags: Tags): string {
  const members = [...tags].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  return `{${members.join(",")}}`;
}
