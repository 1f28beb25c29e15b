/** The settings of the Centrifuge protocol, joined into the table of all settings. */
import { type Settings, wholeNumber } from "../../base/setting.ts";

export const CENTRIFUGE_SETTINGS = {
  handshakeTimeout: {
    value: "SECONDS",
    fallback: "10",
    help: "time a Centrifuge client has to send its connect command",
    parse: wholeNumber(1, 3_600),
  },
  pingInterval: {
    value: "SECONDS",
    fallback: "25",
    help: "pause between the pings of a Centrifuge connection",
    parse: wholeNumber(1, 3_600),
  },
  pongTimeout: {
    value: "SECONDS",
    fallback: "8",
    help: "time a Centrifuge client has to answer a ping",
    parse: wholeNumber(1, 3_600),
  },
} satisfies Settings;
