/** The settings of the JetStream engine, joined into the table of all settings: how NATS servers know us. */
import { optional, type Settings } from "../../base/setting.ts";

export const JETSTREAM_SETTINGS = {
  natsUser: {
    secret: true,
    help: "user name for the NATS servers of the engine",
    parse: optional,
  },
  natsPassword: {
    secret: true,
    help: "password of that user",
    parse: optional,
  },
  natsToken: {
    secret: true,
    help: "token for the NATS servers of the engine",
    parse: optional,
  },
  natsCreds: {
    value: "FILE",
    help: "credentials file for the NATS servers of the engine",
    parse: optional,
  },
  natsCa: {
    value: "FILE",
    help: "certificates in PEM that these servers are trusted by, besides the public ones",
    parse: optional,
  },
} satisfies Settings;
