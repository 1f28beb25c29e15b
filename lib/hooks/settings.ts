/** The settings of webhooks and callouts, joined into the table of all settings. */
import { optional, type Settings } from "../base/setting.ts";

export const HOOKS_SETTINGS = {
  hooks: {
    value: "FILE",
    help: "JSON file with the webhooks and callouts of your application",
    parse: optional,
  },
  webhookUrl: {
    value: "URL",
    help: "where the messages of all channels are sent; needs RAINDROPS_WEBHOOK_SECRET too",
    parse: optional,
  },
  webhookSecret: {
    secret: true,
    help: "secret that they are signed with, as whsec_ and base64",
    parse: optional,
  },
} satisfies Settings;
