/** Percent-encodes the path of a request that was sent as it was typed: the parser of `node:http` takes ASCII alone. */
import { Buffer } from "node:buffer";

const LF = 0x0a;
const UTF8 = new TextDecoder("utf-8", { fatal: true });
const REQUEST_LINE = /^[A-Z]+ \/[^ \r\n]* HTTP\/1\.1\r$/;

/**
 * @param bytes the first bytes of a connection
 * @returns the same bytes, or with a target in UTF-8 as `encodeURI()` writes it; what is no UTF-8 stays as it is
 */
export function encodeRawTarget(bytes: Buffer): Buffer {
  const end = bytes.indexOf(LF);
  let isAscii = true;
  for (let i = 0; i < end && isAscii; i++) isAscii = bytes[i]! < 0x80;
  if (end < 0 || isAscii) return bytes;
  const line = bytes.subarray(0, end);
  if (!REQUEST_LINE.test(line.toString("latin1"))) return bytes;
  try {
    UTF8.decode(line);
  } catch {
    return bytes;
  }
  const encoded = line.toString("latin1").replace(/[^\0-\x7f]/g, encodeByte);
  return Buffer.concat([Buffer.from(encoded, "latin1"), bytes.subarray(end)]);
}

function encodeByte(byte: string): string {
  return `%${byte.charCodeAt(0).toString(16).toUpperCase()}`;
}
