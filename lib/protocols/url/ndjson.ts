/** Newline-delimited JSON: what `curl -N 'localhost:8000/news?follow'` reads, one message object a line. */
import { encodeMessageJson, encodeRemovalJson } from "../../core/message.ts";
import { findResumeId } from "../../core/replay.ts";
import type { Encoder } from "../../core/socket.ts";
import { createStreamFrame } from "../../http/stream.ts";
import type { Services } from "../protocol.ts";
import type { SessionRequest } from "./session.ts";
import { openStream, type StreamFormat } from "./stream.ts";

export const NDJSON_TYPE = "application/x-ndjson";

/** A batch of messages as lines in one chunk. */
export const NDJSON_ENCODER: Encoder = {
  kind: "joined",
  encode: (messages) =>
    createStreamFrame(messages.map((message) => encodeMessageJson(message) + "\n").join("")),
  encodeRemoval: (removal) => createStreamFrame(encodeRemovalJson(removal) + "\n"),
};

const FORMAT: StreamFormat = {
  protocol: "follow",
  contentType: NDJSON_TYPE,
  encoder: NDJSON_ENCODER,
  // Parsers of JSON lines skip empty lines; this one makes the server send the headers at once.
  encodeOpening: () => "\n",
  encodeGap: (gap) => `{"type":"gap","id":"${findResumeId(gap)}","earliest":"${gap.earliest}"}\n`,
  keepAlive: "\n",
};

/** Opens a line stream on the channels of a request. */
export function openLineStream(services: Services, request: SessionRequest): Response {
  return openStream(FORMAT, services, request);
}
