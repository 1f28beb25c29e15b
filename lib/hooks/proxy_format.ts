/**
 * Questions and answers in the format of Centrifugo's proxy over HTTP
 * (https://centrifugal.dev/docs/server/proxy), so that backends made for it work unchanged.
 */
import {
  type JsonMembers,
  parseJsonArray,
  parseJsonObject,
  parseJsonScalar,
  parseJsonText,
  toJsonLine,
} from "../base/json_text.ts";
import { parseChannel } from "../core/channel.ts";
import { ApplicationError } from "../core/errors.ts";
import { type Payload, toJsonPayload } from "../core/message.ts";
import { checkTags, readTags, type Tags } from "../core/tags.ts";
import type { Caller } from "../auth/callouts.ts";
import type { ConnectionClaims, TokenSubscription } from "../auth/claims.ts";
import { BadAnswer } from "./application.ts";

/** What differs from question to question; payloads become `data`, or `b64data` for bytes. */
export interface Question {
  readonly [name: string]: string | Payload | undefined;
}

/** Encodes a question as JSON text. Empty texts are left out. */
export function encodeQuestion({ client, transport }: Caller, question: Question): string {
  const fields: [string, string][] = [
    ["client", JSON.stringify(client)],
    ["transport", JSON.stringify(transport)],
    ["protocol", '"json"'],
    ["encoding", '"json"'],
  ];
  for (const [name, value] of Object.entries(question)) {
    if (value === undefined || value === "") continue;
    if (typeof value === "string") fields.push([name, JSON.stringify(value)]);
    else if (value.kind === "bytes") fields.push([`b64${name}`, JSON.stringify(value.bytes.toBase64())]);
    else fields.push([name, value.kind === "json" ? value.text : JSON.stringify(value.text)]);
  }
  return `{${fields.map(([name, json]) => `"${name}":${json}`).join(",")}}`;
}

/** Channels of one connection that are read. */
const MAX_CHANNELS = 10_000;

const EMPTY: JsonMembers = new Map();

/**
 * Reads what all answers share.
 *
 * @returns the members of `result`; none when it is left out
 * @throws {ApplicationError} for an `error` or a `disconnect`
 * @throws {BadAnswer} for an answer that is not understood
 */
export function readResult(answer: JsonMembers | undefined): JsonMembers {
  if (answer === undefined) throw new BadAnswer("its answer is not an object");
  const disconnect = readObject(answer, "disconnect");
  if (disconnect !== undefined) {
    const code = readCode(disconnect, 4_500, 3_000, 4_999);
    throw new ApplicationError({ kind: "disconnect", code, reason: readText(disconnect, "reason") });
  }
  const error = readObject(answer, "error");
  if (error !== undefined) {
    throw new ApplicationError({
      kind: "error",
      code: readCode(error, 103, 1, 0xffff_ffff),
      message: readText(error, "message"),
      temporary: error.get("temporary") === "true",
    });
  }
  return readObject(answer, "result") ?? EMPTY;
}

/** The claims of a `connect` result. */
export function readClaims(result: JsonMembers): ConnectionClaims {
  const subs = new Map(
    [...readObject(result, "subs") ?? EMPTY].map(([name, json]): [string, TokenSubscription] => {
      const sub = parseJsonObject(json);
      if (sub === undefined) throw new BadAnswer('its "subs" has a value that is not an object');
      return [readChannel(name), { info: readInfo(sub), data: readJson(sub, "data") }];
    }),
  );
  const channels = parseJsonArray(result.get("channels") ?? "[]", MAX_CHANNELS);
  if (channels === undefined) throw new BadAnswer('its "channels" is not an array');
  return {
    user: readText(result, "user"),
    expires: readExpiry(result),
    info: readInfo(result),
    meta: readJson(result, "meta"),
    ...readLabels(result),
    channels: [...new Set([...channels.map((json) => readChannel(parseJsonScalar(json))), ...subs.keys()])],
    subs,
    grants: [],
  };
}

/** `expire_at`, in seconds since 1970; 0 for never. */
export function readExpiry(result: JsonMembers): number {
  const value = Number(result.get("expire_at") ?? 0);
  if (!Number.isSafeInteger(Math.floor(value))) {
    throw new BadAnswer('its "expire_at" is not a number of seconds');
  }
  return Math.max(0, Math.floor(value));
}

/** `data`, or `b64data`; undefined without either. */
export function readData(result: JsonMembers): Payload | undefined {
  const base64 = readText(result, "b64data");
  if (base64 !== "") return { kind: "bytes", bytes: readBase64(base64) };
  const json = readJson(result, "data");
  return json === undefined ? undefined : toJsonPayload(json);
}

/** `info`, or `b64info`, as JSON text. */
export function readInfo(result: JsonMembers): string | undefined {
  const base64 = readText(result, "b64info");
  if (base64 === "") return readJson(result, "info");
  try {
    return toJsonLine(parseJsonText(new TextDecoder().decode(readBase64(base64))));
  } catch (cause) {
    throw new BadAnswer('its "b64info" does not hold JSON', { cause });
  }
}

/** `tags`, as the fields of an answer; without any, there is no field. */
export function readTagsOf(result: JsonMembers): { readonly tags?: Tags } {
  const members = readObject(result, "tags");
  if (members === undefined) return {};
  try {
    return { tags: readTags(members) };
  } catch (cause) {
    throw new BadAnswer('its "tags" has a value that is not a string', { cause });
  }
}

function readLabels(result: JsonMembers): { readonly labels?: Tags } {
  const members = readObject(result, "labels");
  if (members === undefined) return {};
  try {
    const labels = readTags(members);
    checkTags(labels);
    return { labels };
  } catch (cause) {
    throw new BadAnswer('its "labels" is not an object of short texts by name', { cause });
  }
}

/** A member as JSON text; undefined when it is null or left out. */
function readJson(members: JsonMembers, name: string): string | undefined {
  const json = members.get(name);
  return json === undefined || json === "null" ? undefined : toJsonLine(json);
}

/** A member that is a string; empty when it is null or left out. */
function readText(members: JsonMembers, name: string): string {
  const value = parseJsonScalar(members.get(name) ?? '""') ?? undefined;
  if (typeof value === "string") return value.toWellFormed();
  if (members.get(name) === "null") return "";
  throw new BadAnswer(`its "${name}" is not a string`);
}

/** A member that is an object; undefined when it is null or left out. */
function readObject(members: JsonMembers, name: string): JsonMembers | undefined {
  const json = readJson(members, name);
  if (json === undefined) return undefined;
  const object = parseJsonObject(json);
  if (object === undefined) throw new BadAnswer(`its "${name}" is not an object`);
  return object;
}

function readBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.fromBase64(text);
  } catch (cause) {
    throw new BadAnswer("its base64 is not base64", { cause });
  }
}

function readChannel(name: unknown): string {
  try {
    return parseChannel(typeof name === "string" ? name : "");
  } catch (cause) {
    throw new BadAnswer(cause instanceof Error ? cause.message : "it names no channel", { cause });
  }
}

function readCode(members: JsonMembers, fallback: number, from: number, to: number): number {
  const value = Number(members.get("code") ?? fallback);
  if (Number.isInteger(value) && value >= from && value <= to) return value;
  throw new BadAnswer(`its code is not a whole number from ${from} to ${to}`);
}
