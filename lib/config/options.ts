/**
 * The table of all settings: what each means, and how its text is read. `config.ts` works through it. Flags, variables
 * and the type `Config` are derived from it, so that a setting is stated once.
 */
import { parseApiKeys } from "../auth/api_keys.ts";
import { parseOrigin } from "../auth/origin.ts";
import { parseNetwork } from "../base/address.ts";
import {
  limit,
  listOf,
  nonEmpty,
  oneOf,
  onOrOff,
  optional,
  type Settings,
  type Values,
  wholeNumber,
} from "../base/setting.ts";
import { MAX_CHANNEL_LENGTH } from "../core/channel.ts";
import type { Bound } from "../core/limits.ts";
import { MAP_SETTINGS } from "../core/maps/settings.ts";
import { SCHEDULE_SETTINGS } from "../core/schedule/settings.ts";
import { ENGINE_SETTINGS, parseEngineUrl } from "../engines/mod.ts";
import { HOOKS_SETTINGS } from "../hooks/mod.ts";
import { PROTOCOL_SETTINGS } from "../protocols/mod.ts";
import { PUSH_SETTINGS } from "../push/mod.ts";

/** All settings by their key, in the order of the help. */
export const OPTIONS = {
  port: {
    variable: "PORT",
    value: "N",
    fallback: "8000",
    help: "TCP port; 0 picks a free one and prints it",
    parse: wholeNumber(0, 65_535),
  },
  host: {
    variable: "HOST",
    value: "ADDRESS",
    fallback: "127.0.0.1",
    help: "address to listen on; beyond this machine it takes a key, or --open",
    parse: nonEmpty,
  },
  reusePort: {
    help: "share the port with other nodes on this machine, among which connections are divided",
    parse: onOrOff,
  },
  workers: {
    value: "N",
    fallback: "1",
    help:
      "threads that serve, each with connections of its own; auto for as many as there are cores; Linux only",
    parse: (text: string) => text === "auto" ? text as "auto" : parseWorkers(text),
  },
  listener: {
    value: "NAME",
    fallback: "auto",
    help: "what serves the port: deno, node, which withstands the open internet, or auto: node once exposed",
    parse: oneOf("auto", "deno", "node"),
  },
  cert: {
    value: "FILE",
    help: "certificate in PEM, to serve https and wss; needs --key too",
    parse: optional,
  },
  key: {
    value: "FILE",
    help: "private key of the certificate, in PEM",
    parse: optional,
  },
  open: {
    help: "let everybody read and publish, beyond this machine too",
    parse: onOrOff,
  },
  engine: {
    value: "URL",
    fallback: "sqlite:./data/raindrops.db",
    help:
      "where messages are kept: sqlite:PATH[?synchronous=full], nats://HOST:PORT[,...][?stream=NAME] or memory:",
    parse(text) {
      parseEngineUrl(text);
      return text;
    },
  },
  nodeName: {
    value: "NAME",
    fallback: "raindrops",
    help: "name of this node among those that share its engine",
    parse: nonEmpty,
  },
  rules: {
    value: "FILE",
    help: "JSON file with channel rules",
    parse: optional,
  },
  origins: {
    value: "LIST",
    help: "other origins whose pages may connect, by comma, such as https://example.org; * allows all",
    parse: listOf(parseOrigin),
  },
  noNullOrigin: {
    help: "refuse pages from disk on this machine, too, for which frames of other sites can pass",
    parse: onOrOff,
  },
  tokenSecret: {
    secret: true,
    help: "secret that clients' tokens are signed with (HS256, HS384, HS512)",
    parse: optional,
  },
  tokenKey: {
    value: "FILE",
    help: "public key in PEM that clients' tokens are signed with",
    parse: optional,
  },
  tokenJwks: {
    value: "FILE|URL",
    help: "JSON Web Key Set that clients' tokens are signed with",
    parse: optional,
  },
  apiKeys: {
    secret: true,
    help:
      "keys that may do everything, the HTTP API included, by comma; several let them be changed one by one",
    parse: parseApiKeys,
  },
  tokenAudience: {
    value: "NAME",
    help: "audience that tokens must name",
    parse: optional,
  },
  tokenIssuer: {
    value: "NAME",
    help: "issuer that tokens must name",
    parse: optional,
  },
  maxBodyBytes: {
    value: "N",
    fallback: String(1024 * 1024),
    help: "largest HTTP request body",
    parse: wholeNumber(1, 1024 ** 3),
  },
  maxMessageBytes: {
    value: "N",
    fallback: String(64 * 1024),
    help: "largest message, by HTTP or by socket",
    parse: wholeNumber(1, 32 * 1024 ** 2),
  },
  maxConnections: {
    value: "N",
    fallback: "50000",
    help: "WebSockets and streams at a time; 0 for no limit",
    parse: limit,
  },
  maxConnectionsPerAddress: {
    value: "N",
    help: "the same from one IP address (500, and no limit for this machine)",
    parse: boundOr(500),
  },
  maxPublishRate: {
    value: "N",
    help: "messages a second from one client (100, and no limit for this machine)",
    parse: boundOr(100),
  },
  maxPublishRatePerAddress: {
    value: "N",
    help: "messages a second from one IP address (1000, and no limit for this machine)",
    parse: boundOr(1_000),
  },
  publishBurst: {
    value: "SECONDS",
    fallback: "5",
    help: "how many seconds' worth of messages may come at once",
    parse: wholeNumber(1, 3_600),
  },
  maxShare: {
    value: "PERCENT",
    help:
      "most of a pool, such as of scheduled messages, for one user or address (10, no limit for this machine)",
    parse: (text: string) => ({
      value: text === "" ? 10 : wholeNumber(1, 100)(text),
      sparesLoopback: text === "",
    }),
  },
  maxSubscriptions: {
    value: "N",
    fallback: "1000",
    help: "channels and patterns one connection may be on; 0 for no limit",
    parse: limit,
  },
  maxChannels: {
    value: "N",
    fallback: "100000",
    help: "channels the engine keeps, some 1.5 KB of memory each; 0 for no limit",
    parse: limit,
  },
  forgetChannels: {
    value: "SECONDS",
    fallback: String(24 * 60 * 60),
    help: "how long after its newest message a channel in which nothing is stored is forgotten",
    parse: wholeNumber(600, 365 * 24 * 60 * 60),
  },
  maxChannelLength: {
    value: "N",
    fallback: String(MAX_CHANNEL_LENGTH),
    help: "longest channel name, in bytes of UTF-8, which for ASCII are characters",
    parse: wholeNumber(1, MAX_CHANNEL_LENGTH),
  },
  trustedProxy: {
    value: "LIST",
    help: "networks of proxies that say whose requests they pass on, by comma, such as 10.0.0.0/8",
    parse: listOf(parseNetwork),
  },
  proxyHeader: {
    value: "NAME",
    fallback: "x-forwarded-for",
    help: "the header in which they do: x-forwarded-for or forwarded",
    parse: oneOf("x-forwarded-for", "forwarded"),
  },
  maxQueueMessages: {
    value: "N",
    fallback: "4096",
    help: "messages that may wait for one slow subscriber before it is cut off",
    parse: wholeNumber(1, 1_000_000),
  },
  maxQueueBytes: {
    value: "N",
    fallback: String(4 * 1024 * 1024),
    help: "bytes that may wait for one slow subscriber before it is cut off",
    parse: wholeNumber(1, 1024 ** 3),
  },
  idleTimeout: {
    value: "SECONDS",
    fallback: "30",
    help: "silence after which a WebSocket is pinged, and dropped if it stays silent",
    parse: wholeNumber(1, 3_600),
  },
  headerTimeout: {
    value: "SECONDS",
    fallback: "10",
    help: "time a client has to send the headers of a request (node listener)",
    parse: wholeNumber(1, 3_600),
  },
  bodyTimeout: {
    value: "SECONDS",
    fallback: "30",
    help: "time a client has to send a request's body, and (node listener) to take some of an answer",
    parse: wholeNumber(1, 3_600),
  },
  keepAlive: {
    value: "SECONDS",
    fallback: "25",
    help: "pause between the keep-alive lines of streams",
    parse: wholeNumber(1, 3_600),
  },
  logFormat: {
    value: "FORMAT",
    fallback: "text",
    help: "format of the log on stderr: text or json",
    parse: oneOf("text", "json"),
  },
  logLevel: {
    value: "LEVEL",
    fallback: "info",
    help: "lowest level that is logged: debug, info, warn or error",
    parse: oneOf("debug", "info", "warn", "error"),
  },
  // Joined last: the compiler refuses a key that is stated above and in one of them.
  ...MAP_SETTINGS,
  ...SCHEDULE_SETTINGS,
  ...ENGINE_SETTINGS,
  ...HOOKS_SETTINGS,
  ...PUSH_SETTINGS,
  ...PROTOCOL_SETTINGS,
} satisfies Settings;

/** More threads than cores only cost memory. */
const MAX_WORKERS = 256;

function parseWorkers(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= MAX_WORKERS) return value;
  throw new SyntaxError(`give a whole number from 1 to ${MAX_WORKERS}, or auto`);
}

/** What all settings are set to. */
export type Config = Values<typeof OPTIONS>;

/** Former names of settings, and their keys now. Whoever uses one is told the new one. */
export const RENAMED: Readonly<Record<string, keyof Config>> = { log: "engine" };

/** A limit that holds for everybody once it is set; until then it is a default one, and spares this machine. */
function boundOr(fallback: number): (text: string) => Bound {
  return (text) =>
    text === "" ? { value: fallback, sparesLoopback: true } : { value: limit(text), sparesLoopback: false };
}
