/** The settings of maps, joined into the table of all settings. */
import { type Settings, wholeNumber } from "../../base/setting.ts";

export const MAP_SETTINGS = {
  maxMapKeys: {
    value: "N",
    fallback: "10000",
    help: "keys that the map of one channel may have",
    parse: wholeNumber(1, 1_000_000),
  },
  maxAllMapKeys: {
    value: "N",
    fallback: "100000",
    help: "keys that the maps of all channels may have together",
    parse: wholeNumber(0, 10_000_000),
  },
  maxMapBytes: {
    value: "N",
    fallback: String(64 * 1024 * 1024),
    help: "bytes that the values of all maps may take, in the memory of each node",
    parse: wholeNumber(1, 64 * 1024 ** 3),
  },
} satisfies Settings;
