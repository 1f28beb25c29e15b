/** The settings of the Pusher protocol, joined into the table of all settings. */
import { optional, type Settings, wholeNumber } from "../../base/setting.ts";
import { type App, parseApp } from "./apps.ts";

export const PUSHER_SETTINGS = {
  pusherApps: {
    value: "FILE",
    help: "JSON file with the apps of Pusher's clients: id, key, secret",
    parse: optional,
  },
  pusherApp: {
    secret: true,
    help: "one app of Pusher's clients, as id:key:secret",
    parse: (text: string): App | undefined => text === "" ? undefined : parseApp(text),
  },
  pusherActivityTimeout: {
    value: "SECONDS",
    fallback: "120",
    help: "silence after which a Pusher client and the server ping each other",
    parse: wholeNumber(1, 3_600),
  },
  pusherPongTimeout: {
    value: "SECONDS",
    fallback: "30",
    help: "time a Pusher client has to answer a ping",
    parse: wholeNumber(1, 3_600),
  },
} satisfies Settings;
