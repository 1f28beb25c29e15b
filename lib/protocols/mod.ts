/** The registry of protocols: everything `app.ts` can put on a channel's URL. */
import { CENTRIFUGE_SETTINGS } from "./centrifuge/settings.ts";

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

/** The settings of all protocols, for the table of settings. */
export const PROTOCOL_SETTINGS = { ...CENTRIFUGE_SETTINGS };
