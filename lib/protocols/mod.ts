/** The registry of protocols: everything `app.ts` can put on a channel's URL. */
export {
  answerEmulation,
  chooseWebSocket,
  emulate,
  openCentrifugeSocket,
  openEventSession,
  openLineSession,
  openOneWayEvents,
  openOneWayLines,
  openOneWaySocket,
  type StreamRequest,
} from "./centrifuge/transports.ts";
export type { CentrifugeContext } from "./centrifuge/session.ts";
export { EVENT_STREAM_TYPE, openEventStream } from "./url/event_stream.ts";
export { NDJSON_TYPE, openLineStream } from "./url/ndjson.ts";
export { openPlainSession } from "./url/plain.ts";
export type { ProtocolContext, ReadRequest } from "./protocol.ts";
export { streamHeaders } from "./url/stream.ts";
