/** Reads the body of a publish request into a payload, by its content type and never beyond the limit. */
import { MessagingError } from "../core/errors.ts";
import { isJsonObject, parseExactJson } from "../base/exact_json.ts";
import { toJsonPayload } from "../core/message.ts";
import type { Payload } from "../core/message.ts";
import { withTimeout } from "./timeout.ts";

/** Made once: a decoder costs more than what it decodes. */
const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** A payload, and the options that stood beside it in a JSON object or form. */
interface Body {
  readonly payload: Payload;
  readonly options: Readonly<Record<string, unknown>>;
}

/** What a request's body may cost. */
export interface BodyLimits {
  readonly maxBodyBytes: number;
  /** Seconds there are to send all of it. */
  readonly bodyTimeout: number;
}

/**
 * Reads a whole body. One of announced length is read in one go, as the listener holds it to that length; any other is
 * counted while it arrives.
 *
 * @throws {MessagingError} `too_large`, `unsupported_media`, `body_timeout`, or `bad_body` when the client went away in
 * the middle
 */
export async function readBytes(request: Request, limits: BodyLimits): Promise<Uint8Array<ArrayBuffer>> {
  const { maxBodyBytes, bodyTimeout } = limits;
  const announced = request.headers.get("content-length");
  if (Number(announced ?? 0) > maxBodyBytes) throw tooLarge(maxBodyBytes);
  const coding = request.headers.get("transfer-encoding") ?? "chunked";
  if (coding.toLowerCase() !== "chunked") {
    throw new MessagingError("unsupported_media", `Bodies sent as ${coding} are not read: send it plain`);
  }
  const reading = announced === null ? readCounting(request.body, maxBodyBytes) : request.bytes();
  try {
    const bytes = await withTimeout(bodyTimeout, reading, () => tooLate(bodyTimeout));
    if (bytes.byteLength > maxBodyBytes) throw tooLarge(maxBodyBytes);
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
    `The body was not there after ${seconds} seconds: send it faster, or raise --body-timeout`,
  );
}

function tooLarge(limit: number): MessagingError {
  return new MessagingError(
    "too_large",
    `The body is larger than ${limit} bytes: send less, or raise --max-body-bytes`,
  );
}

/**
 * Reads a body by its content type: JSON, a form with a field `data`, text, or bytes.
 *
 * @throws {MessagingError} `bad_body` for what is not of its type, `unsupported_media` for what cannot be read
 */
export function parseBody(bytes: Uint8Array<ArrayBuffer>, headers: Headers): Body {
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") {
    throw new MessagingError(
      "unsupported_media",
      `Bodies compressed with ${encoding} are not read: send it plain`,
    );
  }
  const kind = parseType(headers.get("content-type") ?? "");
  if (kind === "application/json" || kind.endsWith("+json")) return parseJson(decodeText(bytes));
  if (kind === "application/x-www-form-urlencoded") return parseForm(decodeText(bytes));
  if (kind === "multipart/form-data") {
    throw new MessagingError(
      "unsupported_media",
      "Multipart forms are not read: send the message as the body itself",
    );
  }
  if (kind === "" || kind.startsWith("text/")) {
    return withoutOptions({ kind: "text", text: decodeText(bytes) });
  }
  return withoutOptions({ kind: "bytes", bytes });
}

// Whoever publishes much does so with the same type.
let lastType = "";
let lastKind = "";

/** The media type without parameters, in lower case. */
function parseType(value: string): string {
  if (value === lastType) return lastKind;
  const [type = "", ...parameters] = value.split(";").map((part) => part.trim());
  const charset = parameters.find((parameter) => /^charset=/i.test(parameter))?.slice(8).replaceAll('"', "");
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) {
    throw new MessagingError("unsupported_media", `Text in ${charset} is not read: send it as UTF-8`);
  }
  lastType = value;
  return lastKind = type.toLowerCase();
}

function parseJson(text: string): Body {
  try {
    const value = parseExactJson(text);
    if (isJsonObject(value) && Object.hasOwn(value, "data")) {
      const { data, ...options } = value;
      return { payload: toJsonPayload(data), options };
    }
    return withoutOptions(toJsonPayload(value));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new MessagingError(
      "bad_body",
      `The body cannot be read as JSON (${cause.message}): mend it, or send it as text/plain`,
      { cause },
    );
  }
}

function parseForm(text: string): Body {
  const form = new URLSearchParams(text);
  const data = form.get("data");
  if (data === null) return withoutOptions({ kind: "text", text });
  form.delete("data");
  return { payload: { kind: "text", text: data }, options: Object.fromEntries(form) };
}

function withoutOptions(payload: Payload): Body {
  return { payload, options: {} };
}

function decodeText(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch (cause) {
    throw new MessagingError(
      "bad_body",
      "The body is not UTF-8: convert it, or send bytes with the type application/octet-stream",
      { cause },
    );
  }
}
