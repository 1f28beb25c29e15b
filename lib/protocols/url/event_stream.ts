/** Server-sent events (WHATWG HTML section 9.2): what `new EventSource(url)` reads from a channel's URL. */
import {
  encodePayloadJson,
  encodeRemovalJson,
  formatId,
  type Message,
  showPayload,
} from "../../core/message.ts";
import { findResumeId } from "../../core/replay.ts";
import type { Encoder } from "../../core/socket.ts";
import { createStreamFrame } from "../../http/stream.ts";
import type { Services } from "../protocol.ts";
import type { SessionRequest } from "./session.ts";
import { openStream, type StreamFormat } from "./stream.ts";

export const EVENT_STREAM_TYPE = "text/event-stream";

/** Milliseconds an EventSource waits before it reconnects. */
const RETRY_MILLISECONDS = 1_000;

/** A batch of messages as events in one chunk. */
export const EVENT_STREAM_ENCODER: Encoder = {
  kind: "joined",
  encode: (messages) => createStreamFrame(messages.map(encodeEvent).join("")),
  // Without an id: a reader goes on from where it was.
  encodeRemoval: (removal) => createStreamFrame(`event: removed\ndata: ${encodeRemovalJson(removal)}\n\n`),
};

const FORMAT: StreamFormat = {
  protocol: "sse",
  contentType: EVENT_STREAM_TYPE,
  encoder: EVENT_STREAM_ENCODER,
  // A subscriber that is cut off before its first message is to resume from where it came in. Browsers note an id at the end
  // of its block, some libraries only if the block has data, and others hand a block without data to their users as an
  // empty message: hence an event of a name that nobody listens for, with data.
  encodeOpening: (top) =>
    `retry: ${RETRY_MILLISECONDS}\n${
      top === undefined ? "" : encodeBeginning(formatId(top.epoch, top.sequence))
    }`,
  encodeGap: (gap) => `event: gap\nid: ${findResumeId(gap)}\ndata: {"earliest":"${gap.earliest}"}\n\n`,
  // A line, as an empty one would end a block.
  keepAlive: ": alive\n",
};

function encodeBeginning(id: string): string {
  return `event: begin\nid: ${id}\ndata: {"id":"${id}"}\n\n`;
}

/** Opens an event stream on the channels of a request. */
export function openEventStream(services: Services, request: SessionRequest): Response {
  return openStream(FORMAT, services, request);
}

/** One event: `id` if it was stored, `event` if it has a name, one `data` line per line. */
export function encodeEvent(message: Message): string {
  let text = message.sequence > 0 ? `id: ${formatId(message.epoch, message.sequence)}\n` : "";
  if (message.event !== undefined) text += `event: ${message.event}\n`;
  const { payload } = message;
  const data = payload.kind === "bytes" ? encodePayloadJson(payload) : showPayload(payload);
  // All three line ends of the format end a line here, else text could forge fields.
  for (const line of data.split(/\r\n|\r|\n/)) text += `data: ${line}\n`;
  return text + "\n";
}
