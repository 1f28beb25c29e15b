/** What every streamed response has in common: its headers, and frames of bytes. Protocols and the inspector use it. */
import { NO_SNIFFING } from "./problem.ts";
import { Frame } from "../core/socket.ts";

const UTF8 = new TextEncoder();

/** A frame of bytes, as streams need them. */
export function createStreamFrame(text: string): Frame {
  return new Frame(UTF8.encode(text));
}

/** Headers of a stream: never stored, never held back by a proxy. */
export function streamHeaders(contentType: string): Record<string, string> {
  return {
    "content-type": contentType,
    "cache-control": "no-store",
    "x-accel-buffering": "no",
    ...NO_SNIFFING,
  };
}
