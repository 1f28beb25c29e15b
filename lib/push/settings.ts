/** The settings of Web Push, joined into the table of all settings. */
import { listOf, optional, type Settings, wholeNumber } from "../base/setting.ts";
import { parsePushService } from "./services.ts";

/** The push services of Chrome and Edge, Firefox, Safari, and Edge on Windows. */
const KNOWN_SERVICES =
  "fcm.googleapis.com,updates.push.services.mozilla.com,*.push.apple.com,*.notify.windows.com";

/** Subscriptions of a channel are kept in one entry of the engine, which NATS servers limit to 1 MB. */
const MOST_PER_CHANNEL = 1_000;

export const PUSH_SETTINGS = {
  pushContact: {
    value: "URL",
    help: "whom push services may write to, as mailto:ADDRESS or https://...; needed where a rule pushes",
    parse(text) {
      if (text !== "" && !/^(?:mailto:.+@.+|https:\/\/.+)$/.test(text)) {
        throw new SyntaxError("use mailto:ADDRESS or a URL that begins with https://");
      }
      return optional(text);
    },
  },
  pushServices: {
    value: "HOST,...",
    fallback: KNOWN_SERVICES,
    help: "push services that messages may be sent to: HOST, HOST:PORT or *.HOST, always https",
    parse: listOf(parsePushService),
  },
  maxPushSubscriptions: {
    value: "N",
    fallback: "10000",
    help: "push subscriptions to all channels together",
    parse: wholeNumber(1, 10_000_000),
  },
  maxChannelPushSubscriptions: {
    value: "N",
    fallback: "500",
    help: `push subscriptions to one channel, at most ${MOST_PER_CHANNEL}`,
    parse: wholeNumber(1, MOST_PER_CHANNEL),
  },
} satisfies Settings;
