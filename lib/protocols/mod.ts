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
} from "./centrifuge.ts";
export type { CentrifugeContext } from "./centrifuge_session.ts";
export { EVENT_STREAM_TYPE, openEventStream } from "./event_stream.ts";
export { NDJSON_TYPE, openLineStream } from "./ndjson.ts";
export { openPlainSession } from "./plain.ts";
export type { ProtocolContext, ReadRequest } from "./protocol.ts";
export { streamHeaders } from "./stream.ts";
