/** The settings of scheduled messages, joined into the table of all settings. */
import { type Settings, wholeNumber } from "../../base/setting.ts";

export const SCHEDULE_SETTINGS = {
  maxScheduled: {
    value: "N",
    fallback: "10000",
    help: "messages that may be scheduled for later at a time; 0 allows none",
    parse: wholeNumber(0, 1_000_000),
  },
  maxScheduledBytes: {
    value: "N",
    fallback: String(64 * 1024 * 1024),
    help: "bytes that all scheduled messages may take in the engine",
    parse: wholeNumber(1, 1024 ** 3),
  },
  maxScheduleAhead: {
    value: "SECONDS",
    fallback: String(365 * 24 * 60 * 60),
    help: "how far ahead a message may be scheduled",
    parse: wholeNumber(1, 10 * 365 * 24 * 60 * 60),
  },
} satisfies Settings;
