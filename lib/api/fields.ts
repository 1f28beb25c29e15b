/** The fields of one request to the HTTP API, checked as methods read them. Errors name the field that is wrong. */
import { parseChannel } from "../core/channel.ts";
import type { Payload } from "../core/message.ts";
import { ApiError } from "./error.ts";
import { isJsonObject, type JsonObject, parseExactJson, toBigInt } from "../base/exact_json.ts";
import { parseOr } from "../http/problem.ts";

/** A request's fields. Null counts as left out, except as data. All methods throw error 107 for an invalid field. */
export class Fields {
  readonly #values: JsonObject;
  readonly #path: string;

  /** @param path prefix of each name in messages */
  constructor(values: JsonObject, path = "") {
    this.#values = values;
    this.#path = path;
  }

  /** The error for a field: `why` follows its name. */
  refuse(name: string, why: string): ApiError {
    return new ApiError("badRequest", `${this.#path}${name} ${why}`);
  }

  /** Whether a field has a value other than its default. */
  has(name: string): boolean {
    const value = this.#values[name];
    if (Array.isArray(value)) return value.length > 0;
    if (isJsonObject(value)) return Object.keys(value).length > 0;
    return ![undefined, null, "", 0, false].some((empty) => value === empty);
  }

  /** Empty when left out. */
  string(name: string): string {
    return this.optionalString(name) ?? "";
  }

  optionalString(name: string): string | undefined {
    const value = this.#values[name] ?? undefined;
    if (value === undefined || typeof value === "string") return value;
    throw this.refuse(name, "must be a string");
  }

  boolean(name: string): boolean {
    const value = this.#values[name] ?? false;
    if (typeof value === "boolean") return value;
    throw this.refuse(name, "must be true or false");
  }

  /** 0 when left out. */
  integer(name: string, from: number, to: number): number {
    const value = this.#values[name] ?? 0;
    if (
      typeof value === "number" && Number.isInteger(value) && (value === 0 || value >= from) && value <= to
    ) {
      return value;
    }
    throw this.refuse(name, `must be a whole number from ${from} to ${to}`);
  }

  /** A whole number of up to 64 bits; 0 when left out. */
  unsigned(name: string): bigint {
    const value = toBigInt(this.#values[name] ?? 0);
    if (value !== undefined && value < 2n ** 64n) return value;
    throw this.refuse(name, "must be a whole number from 0 to 18446744073709551615");
  }

  /** Empty when left out. */
  list(name: string): readonly unknown[] {
    const value = this.#values[name] ?? [];
    if (Array.isArray(value)) return value;
    throw this.refuse(name, "must be an array");
  }

  strings(name: string): readonly string[] {
    return this.list(name).map((value, index) => {
      if (typeof value === "string") return value;
      throw this.refuse(`${name}[${index}]`, "must be a string");
    });
  }

  object(name: string): Fields | undefined {
    const value = this.#values[name] ?? undefined;
    if (value === undefined) return undefined;
    if (isJsonObject(value)) return new Fields(value, `${this.#path}${name}.`);
    throw this.refuse(name, "must be an object");
  }

  /** The required field `channel`, a valid name. */
  channel(): string {
    const channel = this.string("channel");
    if (channel === "") throw this.refuse("channel", "is required");
    return parseOr("bad_channel", () => parseChannel(channel));
  }

  /** The payload in `b64data`, else in `data`: a string as text, anything else as JSON. Undefined without either. */
  payload(): Payload | undefined {
    const bytes = this.#bytes("b64data");
    if (bytes !== undefined) return { kind: "bytes", bytes };
    const value = this.#values.data;
    if (value === undefined) return undefined;
    if (typeof value === "string") return { kind: "text", text: value };
    return { kind: "json", text: this.#stringify("data", value) };
  }

  /** The info in `b64info`, else in `info`, as JSON text. */
  info(): string | undefined {
    const bytes = this.#bytes("b64info");
    if (bytes === undefined) {
      const value = this.#values.info ?? undefined;
      return value === undefined ? undefined : this.#stringify("info", value);
    }
    try {
      return JSON.stringify(parseExactJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    } catch {
      throw this.refuse("b64info", "must be JSON in base64");
    }
  }

  #bytes(name: string): Uint8Array<ArrayBuffer> | undefined {
    const text = this.string(name);
    if (text === "") return undefined;
    try {
      const bytes = Uint8Array.fromBase64(text);
      if (bytes.byteLength > 0) return bytes;
    } catch {
      // Refused below, as is a value of no bytes.
    }
    throw this.refuse(name, "must be base64");
  }

  #stringify(name: string, value: unknown): string {
    try {
      return JSON.stringify(value);
    } catch {
      // A body within the size limit may still be nested too deeply for the stack.
      throw this.refuse(name, "is nested too deeply");
    }
  }
}
