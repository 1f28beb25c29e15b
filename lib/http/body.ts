/** Reads the body of a request within limits, and parses that of a publish into a payload by its content type. */
import { Buffer, isUtf8 } from "node:buffer";
import { MessagingError } from "../core/errors.ts";
import { createFieldPattern, decodeFormText, splitForm } from "../base/form.ts";
import { jsonKind, parseJsonObject, parseJsonScalar } from "../base/json_text.ts";
import { nextSlice } from "../base/slices.ts";
import type { WholeRequest } from "../core/socket.ts";
import { toJsonPayload } from "../core/message.ts";
import type { Payload } from "../core/message.ts";
import { parseOr } from "./problem.ts";
import { withTimeout } from "./timeout.ts";

/** A payload, and the options beside it in a JSON object or form. */
interface Body {
  readonly payload: Payload;
  readonly options: Readonly<Record<string, unknown>>;
}

/** Bytes from which parsing a body can take a millisecond and more. */
const LARGE_BODY_BYTES = 65_536;

/** Limits of a request's body. */
export interface BodyLimits {
  readonly maxBodyBytes: number;
  /** Seconds in which the whole body must arrive. */
  readonly bodyTimeout: number;
}

/**
 * Reads a whole body; what it returns may be a view of more. A body with a Content-Length is read in one go, as the
 * listener enforces that length; any other is counted as it arrives. Large bodies are handed out one in each turn of
 * the event loop, as their reader parses them at once: many that arrive together hold up nobody for longer than one of
 * them.
 *
 * @returns the bytes themselves where they are there already
 * @throws {MessagingError} or rejects with it: `too_large`, `unsupported_media`, `body_timeout`, or `bad_body` if the
 * client disconnected
 */
export function readBytes(
  request: Request,
  limits: BodyLimits,
): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>> {
  const { maxBodyBytes } = limits;
  const { headers } = request;
  const announced = headers.get("content-length");
  if (Number(announced ?? 0) > maxBodyBytes) throw tooLarge(maxBodyBytes);
  const coding = headers.get("transfer-encoding") ?? "chunked";
  if (coding.toLowerCase() !== "chunked") {
    throw new MessagingError(
      "unsupported_media",
      `Bodies with the transfer coding ${coding} are not accepted: send the body without it`,
    );
  }
  // Of the length that was announced.
  const arrived = announced === null ? undefined : (request as Partial<WholeRequest>).takeBytes?.();
  if (arrived !== undefined) {
    return arrived.byteLength > LARGE_BODY_BYTES ? nextSlice().then(() => arrived) : arrived;
  }
  const reading = announced === null ? readCounting(request.body, maxBodyBytes) : request.bytes();
  return awaitBytes(reading, limits);
}

async function awaitBytes(
  reading: Promise<Uint8Array<ArrayBuffer>>,
  { maxBodyBytes, bodyTimeout }: BodyLimits,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const bytes = await withTimeout(bodyTimeout, reading, () => tooLate(bodyTimeout));
    if (bytes.byteLength > maxBodyBytes) throw tooLarge(maxBodyBytes);
    if (bytes.byteLength > LARGE_BODY_BYTES) await nextSlice();
    return bytes;
  } catch (cause) {
    if (cause instanceof MessagingError) throw cause;
    throw new MessagingError("bad_body", "The body ended early", { cause });
  }
}

async function readCounting(body: Request["body"], limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    if (size > limit) throw tooLarge(limit);
    chunks.push(chunk);
  }
  return await new Blob(chunks).bytes();
}

function tooLate(seconds: number): MessagingError {
  return new MessagingError(
    "body_timeout",
    `The body did not arrive within ${seconds} seconds: send it faster, or raise --body-timeout`,
  );
}

function tooLarge(limit: number): MessagingError {
  return new MessagingError(
    "too_large",
    `The body is larger than ${limit} bytes: send less, or raise --max-body-bytes`,
  );
}

/** Formats whose members belong together, even if one is called `data` (CloudEvents 1.0, JSON event format). */
const WHOLE_TYPES: ReadonlySet<string> = new Set([
  "application/cloudevents+json",
  "application/cloudevents-batch+json",
]);

/**
 * Parses a body by its content type: JSON, a form with a field `data`, text, or bytes.
 *
 * @param maxMessageBytes what cannot become so small is refused before it is decoded
 * @param isWhole whether JSON and forms are the message as they are, without options beside a `data`
 * @throws {MessagingError} `bad_body` if it does not match its type, `unsupported_media` for an unsupported type,
 * `too_large`
 */
export function parseBody(
  bytes: Uint8Array<ArrayBuffer>,
  headers: Headers,
  maxMessageBytes = Infinity,
  isWhole = false,
): Body {
  const encoding = headers.get("content-encoding")?.toLowerCase() || "identity";
  if (encoding !== "identity") {
    throw new MessagingError(
      "unsupported_media",
      `Bodies with the encoding ${encoding} are not accepted: send the body uncompressed`,
    );
  }
  const kind = parseType(headers.get("content-type") ?? "");
  if (kind === "application/json" || kind.endsWith("+json")) {
    return parseJson(decodeText(bytes), maxMessageBytes, isWhole || WHOLE_TYPES.has(kind));
  }
  if (kind === "application/x-www-form-urlencoded" && !isWhole) {
    return parseForm(decodeText(bytes), maxMessageBytes);
  }
  if (kind === "multipart/form-data") {
    throw new MessagingError(
      "unsupported_media",
      "Multipart forms are not accepted: send the message as the body itself",
    );
  }
  checkLength(bytes.byteLength, maxMessageBytes);
  if (kind === "" || kind.startsWith("text/") || kind === "application/x-www-form-urlencoded") {
    return withoutOptions({ kind: "text", text: decodeText(bytes) });
  }
  // A view would keep everything alive that came with it.
  const isView = bytes.byteLength < bytes.buffer.byteLength;
  return withoutOptions({ kind: "bytes", bytes: isView ? bytes.slice() : bytes });
}

// Consecutive requests mostly have the same type.
let lastType = "";
let lastKind = "";

/** The media type without parameters, in lower case. */
function parseType(value: string): string {
  if (value === lastType) return lastKind;
  const [type = "", ...parameters] = value.split(";").map((part) => part.trim());
  const charset = parameters.find((parameter) => /^charset=/i.test(parameter))?.slice(8).replaceAll('"', "");
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) {
    throw new MessagingError("unsupported_media", `Text in ${charset} is not accepted: send it as UTF-8`);
  }
  lastType = value;
  return lastKind = type.toLowerCase();
}

/** How often a text can be as long as what it stands for: `\u0061` in JSON, `%61` in a form. */
const BYTES_PER_JSON_ESCAPE = 6;
const BYTES_PER_FORM_ESCAPE = 3;

/** Refuses what is too large in any spelling, before time is spent on it. The hub checks the exact size. */
function checkLength(length: number, maxMessageBytes: number, factor = 1): void {
  if (length <= maxMessageBytes * factor + 2) return;
  throw new MessagingError(
    "too_large",
    `The message is larger than ${maxMessageBytes} bytes: send less, or raise --max-message-bytes`,
  );
}

/** No object beside the data has so many members that are good. */
const MAX_MEMBERS = 1_000;

function keepsTag(_name: string, kept: number): boolean {
  return kept < MAX_MEMBERS;
}

/** Beside the data there are few options: of more, one is unknown. */
const MAX_OPTIONS = 16;

function keepsMember(name: string, kept: number): boolean {
  return name === "data" || kept < MAX_OPTIONS;
}

function parseJson(text: string, maxMessageBytes: number, isWhole: boolean): Body {
  try {
    // A byte order mark is no part of the JSON: RFC 8259 section 8.1 lets parsers ignore it.
    const json = text.startsWith("\ufeff") ? text.slice(1) : text;
    const members = parseJsonObject(json, keepsMember);
    const data = isWhole ? undefined : members?.get("data");
    checkLength((data ?? json.trim()).length, maxMessageBytes, BYTES_PER_JSON_ESCAPE);
    // What is around the value is white space, as the text has been checked.
    if (members === undefined || data === undefined) {
      return withoutOptions(toJsonPayload(json.trim()));
    }
    const options = [...members].filter(([name]) => name !== "data");
    return {
      payload: toJsonPayload(data),
      options: Object.fromEntries(options.map(([name, value]) => [name, parseOption(value)])),
    };
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new MessagingError(
      "bad_body",
      `The body is not valid JSON (${cause.message}): correct it, or send it as text/plain`,
      { cause },
    );
  }
}

/** A plain value, the members of an object, or undefined for an array. */
function parseOption(json: string): unknown {
  return jsonKind(json) === "object" ? parseJsonObject(json, keepsTag) : parseJsonScalar(json);
}

/** Fields of a form that has one with the data. There are fewer options than this. */
const MAX_FIELDS = 64;

const DATA_FIELD = createFieldPattern("data");

function parseForm(text: string, maxMessageBytes: number): Body {
  if (!DATA_FIELD.test(text)) {
    checkLength(text.length, maxMessageBytes);
    return withoutOptions({ kind: "text", text });
  }
  return parseOr("bad_body", () => {
    const { data = "", ...options } = Object.fromEntries(splitForm(text, MAX_FIELDS));
    checkLength(data.length, maxMessageBytes, BYTES_PER_FORM_ESCAPE);
    return {
      payload: { kind: "text", text: decodeFormText(data) },
      options: Object.fromEntries(
        Object.entries(options).map(([name, value]) => [name, decodeFormText(value)]),
      ),
    };
  });
}

function withoutOptions(payload: Payload): Body {
  return { payload, options: {} };
}

function decodeText(bytes: Uint8Array<ArrayBuffer>): string {
  if (!isUtf8(bytes)) {
    throw new MessagingError(
      "bad_body",
      "The body is not UTF-8: convert it, or send bytes with the type application/octet-stream",
    );
  }
  // A TextDecoder takes three times as long for a short text.
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}
