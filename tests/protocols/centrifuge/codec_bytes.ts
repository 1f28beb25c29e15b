/** Frames of both codings by the byte: what the tests of the Centrifuge codecs share. */
import assert from "node:assert/strict";
import type { Payload } from "../../../lib/core/message.ts";

export const UTF8 = new TextEncoder();

/** A value and what it is in each coding; `protobuf` is hexadecimal, its spaces are for the eye. */
export interface Row<T> {
  readonly name: string;
  readonly value: T;
  readonly json: string;
  readonly protobuf: string;
}

/** Bytes from hexadecimal digits; spaces are ignored. */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

export function toHex(data: string | Uint8Array): string {
  assert.ok(data instanceof Uint8Array);
  return data.toHex();
}

/** A length-delimited Protobuf field as digits: its key, the length of its content, the content. */
export function nest(key: string, ...content: readonly string[]): string {
  const digits = content.join("").replaceAll(" ", "");
  let length = digits.length / 2;
  let varint = "";
  for (; length > 127; length >>= 7) varint += (length % 128 + 128).toString(16);
  return key + varint + length.toString(16).padStart(2, "0") + digits;
}

/** A command, reply or push with its length, as it stands in a frame. */
export function frame(...content: readonly string[]): string {
  return nest("", ...content);
}

/** A Protobuf field that holds UTF-8. */
export function utf8(key: string, value: string): string {
  return nest(key, UTF8.encode(value).toHex());
}

export function isShortSyntaxError(error: unknown): boolean {
  return error instanceof SyntaxError && error.name === "SyntaxError" && error.message.length < 80;
}

export const text = (value: string): Payload => ({ kind: "text", text: value });
export const json = (value: string): Payload => ({ kind: "json", text: value });
export const bytes = (...values: number[]): Payload => ({ kind: "bytes", bytes: Uint8Array.from(values) });
