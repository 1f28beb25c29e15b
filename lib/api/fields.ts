/** The fields of one request to the HTTP API, checked as methods read them. Errors name the field that is wrong. */
import { parseChannel } from "../core/channel.ts";
import { type Payload, toJsonPayload } from "../core/message.ts";
import { readTags, type Tags } from "../core/tags.ts";
import {
  type FilterNode,
  MAX_FILTER_DEPTH,
  MAX_FILTER_NODES,
  MAX_FILTER_VALUES,
} from "../core/tag_filter.ts";
import { findNearest } from "../base/nearest.ts";
import { quote } from "../base/quote.ts";
import { ApiError } from "./error.ts";
import { FILTER_FIELDS } from "./field_names.ts";
import {
  jsonKind,
  type JsonMembers,
  parseJsonArray,
  parseJsonObject,
  parseJsonScalar,
  parseJsonText,
  toJsonLine,
} from "../base/json_text.ts";
import { parseOr } from "../http/problem.ts";

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** A request's fields. Null counts as left out, except as data. All methods throw error 107 for an invalid field. */
export class Fields {
  readonly #values: JsonMembers;
  readonly #path: string;

  /** @param path prefix of each name in messages */
  constructor(values: JsonMembers, path = "") {
    this.#values = values;
    this.#path = path;
  }

  /** The error for a field: `why` follows its name. */
  refuse(name: string, why: string): ApiError {
    return new ApiError("badRequest", `${this.#path}${name} ${why}`);
  }

  /**
   * Refuses fields that are not known: a misspelt one would have no effect in silence.
   *
   * @param what they are the fields of, for the message
   */
  demandKnown(known: readonly string[], what: string): void {
    for (const name of this.#values.keys()) {
      if (known.includes(name)) continue;
      const nearest = findNearest(name, known);
      const hint = nearest === undefined ? "" : `did you mean ${nearest}? `;
      const list = known.length === 0 ? "no fields" : known.join(", ");
      throw new ApiError(
        "badRequest",
        `Unknown field ${quote(this.#path + name)}: ${hint}${what} has ${list}`,
      );
    }
  }

  /** Whether a field has a value other than its default. */
  has(name: string): boolean {
    const json = this.#values.get(name);
    if (json === undefined || ["null", '""', "0", "false"].includes(json)) return false;
    return !/^[[{]\s*[\]}]$/.test(json);
  }

  /** Empty when left out. */
  string(name: string): string {
    return this.optionalString(name) ?? "";
  }

  optionalString(name: string): string | undefined {
    const value = this.#scalar(name, null);
    if (value === null) return undefined;
    if (typeof value !== "string") throw this.refuse(name, "must be a string");
    if (!value.isWellFormed()) throw this.refuse(name, "has half a surrogate pair, which is no text");
    return value;
  }

  /** A string or number; undefined when left out. */
  scalar(name: string): string | number | undefined {
    const value = this.#scalar(name, undefined);
    if (value === undefined && this.#optional(name) === undefined) return undefined;
    if (typeof value === "string" || typeof value === "number") return value;
    throw this.refuse(name, "must be a string or a number");
  }

  boolean(name: string): boolean {
    const value = this.#scalar(name, false);
    if (typeof value === "boolean") return value;
    throw this.refuse(name, "must be true or false");
  }

  /** 0 when left out. */
  integer(name: string, from: number, to: number): number {
    const value = this.#scalar(name, 0);
    if (
      typeof value === "number" && Number.isInteger(value) && (value === 0 || value >= from) && value <= to
    ) {
      return value;
    }
    throw this.refuse(name, `must be a whole number from ${from} to ${to}`);
  }

  /** A whole number of up to 64 bits; 0 when left out. */
  unsigned(name: string): bigint {
    const json = this.#optional(name) ?? "0";
    if (/^\d{1,20}$/.test(json) && BigInt(json) < 2n ** 64n) return BigInt(json);
    throw this.refuse(name, "must be a whole number from 0 to 18446744073709551615");
  }

  /**
   * The elements of an array, each as its JSON text; empty when left out.
   *
   * @param max how many there may be
   * @param advice what they are and what to do about more: "names: send several"
   */
  list(name: string, max: number, advice: string): readonly string[] {
    const json = this.#optional(name);
    if (json === undefined) return [];
    const elements = parseJsonArray(json, max + 1);
    if (elements === undefined) throw this.refuse(name, "must be an array");
    if (elements.length > max) throw this.refuse(name, `has more than ${max} ${advice}`);
    return elements;
  }

  strings(name: string, max: number, advice: string): readonly string[] {
    return this.list(name, max, advice).map((json, index) => {
      if (jsonKind(json) === "string") return JSON.parse(json);
      throw this.refuse(`${name}[${index}]`, "must be a string");
    });
  }

  /** @param known the fields that it may have */
  object(name: string, known: readonly string[]): Fields | undefined {
    const members = this.#members(name);
    if (members === undefined) return undefined;
    const fields = new Fields(members, `${this.#path}${name}.`);
    fields.demandKnown(known, this.#path + name);
    return fields;
  }

  /** An object whose values are strings; empty when left out. */
  tags(name: string): Tags {
    const members = this.#members(name);
    return members === undefined ? new Map() : readTags(members);
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
    const json = this.#values.get("data");
    if (json === undefined) return undefined;
    const payload = toJsonPayload(json);
    if (payload.kind === "text" && !payload.text.isWellFormed()) {
      throw this.refuse("data", "has half a surrogate pair, which is no text");
    }
    return payload;
  }

  /** The info in `b64info`, else in `info`, as JSON text on one line. */
  info(): string | undefined {
    const bytes = this.#bytes("b64info");
    try {
      const json = bytes === undefined ? this.#optional("info") : parseJsonText(UTF8.decode(bytes));
      return json === undefined ? undefined : toJsonLine(json);
    } catch {
      throw this.refuse("b64info", "must be JSON in base64");
    }
  }

  /** A filter over texts by name, as deep as filters may be. Empty when left out. */
  filter(name: string): FilterNode {
    return (this.object(name, FILTER_FIELDS) ?? new Fields(new Map())).#toFilter(1);
  }

  #toFilter(depth: number): FilterNode {
    const node = {
      op: this.string("op"),
      key: this.string("key"),
      cmp: this.string("cmp"),
      val: this.string("val"),
      vals: this.strings("vals", MAX_FILTER_VALUES, "values: name fewer"),
    };
    if (depth === MAX_FILTER_DEPTH) return { ...node, isTooDeep: this.has("nodes") };
    const nodes = this.list("nodes", MAX_FILTER_NODES, "nodes: name fewer").map((json, index) => {
      const members = parseJsonObject(json);
      if (members === undefined) throw this.refuse(`nodes[${index}]`, "must be an object");
      const fields = new Fields(members, `${this.#path}nodes[${index}].`);
      fields.demandKnown(FILTER_FIELDS, "a node");
      return fields.#toFilter(depth + 1);
    });
    return { ...node, nodes };
  }

  #members(name: string): JsonMembers | undefined {
    const json = this.#optional(name);
    if (json === undefined) return undefined;
    const members = parseJsonObject(json);
    if (members === undefined) throw this.refuse(name, "must be an object");
    return members;
  }

  /** The JSON text of a field; undefined when it is left out or null. */
  #optional(name: string): string | undefined {
    const json = this.#values.get(name);
    return json === "null" ? undefined : json;
  }

  /** The value of a field, or the fallback when it is left out or null; undefined when it is no plain value. */
  #scalar<T>(name: string, fallback: T): string | number | boolean | null | undefined | T {
    const json = this.#optional(name);
    return json === undefined ? fallback : parseJsonScalar(json);
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
}
