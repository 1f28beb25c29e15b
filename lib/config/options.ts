/**
 * The table of all settings: what each is called as a flag and as a variable, what it means, and how its text is read.
 * `config.ts` works through it.
 */
import { type HashedKey, parseApiKeys } from "../auth/api_keys.ts";
import { parseOrigin } from "../auth/origin.ts";
import { type Network, parseNetwork } from "../base/address.ts";
import { MAX_CHANNEL_LENGTH } from "../core/channel.ts";
import type { Bound } from "../core/limits.ts";
import type { LogLevel } from "../core/logger.ts";
import { parseEngineUrl } from "../engines/mod.ts";

export interface Config {
  readonly port: number;
  readonly host: string;
  /** Whether other processes may listen on the same port. */
  readonly reusePort: boolean;
  readonly listener: "deno" | "node";
  /** Paths of the certificate and its private key, in PEM, that https is served with. */
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** Whether everybody is let in beyond loopback, as long as there is no token key. */
  readonly open: boolean;
  /** URL of the message log, such as `sqlite:./data/raindrops.db`. */
  readonly log: string;
  /** How the servers of a NATS log are to know us; the last two name files. */
  readonly natsUser: string | undefined;
  readonly natsPassword: string | undefined;
  readonly natsToken: string | undefined;
  readonly natsCreds: string | undefined;
  readonly natsCa: string | undefined;
  /** What this node is called among those that share the log. */
  readonly nodeName: string;
  /** Path of a JSON file with channel rules. */
  readonly rules: string | undefined;
  /** Other origins whose pages may connect, such as `https://example.org`, or `*` for all. */
  readonly origins: readonly string[];
  /** Secret that HMAC tokens are signed with. */
  readonly tokenSecret: string | undefined;
  /** Path of a public key in PEM that tokens are signed with. */
  readonly tokenKey: string | undefined;
  /** Path or URL of a JSON Web Key Set that tokens are signed with. */
  readonly tokenJwks: string | undefined;
  /** Keys of operators: for the HTTP API, and for everything else where tokens are asked for. */
  readonly apiKeys: readonly HashedKey[];
  readonly tokenAudience: string | undefined;
  readonly tokenIssuer: string | undefined;
  readonly maxBodyBytes: number;
  readonly maxMessageBytes: number;
  /** Connections in all, and of one address: WebSockets and streams. */
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: Bound;
  /** Messages a second from one client, and from one address. */
  readonly maxPublishRate: Bound;
  readonly maxPublishRatePerAddress: Bound;
  /** How many seconds' worth of messages may come at once. */
  readonly publishBurst: number;
  /** Channels one connection may be on. */
  readonly maxSubscriptions: number;
  /** Channels the log remembers. */
  readonly maxChannels: number;
  readonly maxChannelLength: number;
  readonly trustedProxies: readonly Network[];
  readonly proxyHeader: "x-forwarded-for" | "forwarded";
  readonly maxQueueMessages: number;
  readonly maxQueueBytes: number;
  /** Seconds a Centrifuge client has to connect. */
  readonly handshakeTimeout: number;
  /** Seconds after which a silent WebSocket is pinged, and dropped if it stays silent. */
  readonly idleTimeout: number;
  /** Seconds there are to send the line and headers of a request. */
  readonly headerTimeout: number;
  /** Seconds there are to send a whole request, and to take some of an answer. */
  readonly bodyTimeout: number;
  /** Seconds between the keep-alive comments of an event stream. */
  readonly keepAlive: number;
  /** Seconds between the pings of a Centrifuge connection, and those a client has to answer one. */
  readonly pingInterval: number;
  readonly pongTimeout: number;
  readonly logFormat: "text" | "json";
  readonly logLevel: LogLevel;
}

export interface Option<T> {
  /** Undefined for secrets, which command lines would show to every user of the machine. */
  readonly flag: string | undefined;
  readonly variable: string;
  /** What stands for the value in the help; "" for flags that take none. */
  readonly value: string;
  readonly fallback: string;
  readonly help: string;
  parse(text: string): T;
}

export const OPTIONS: { readonly [K in keyof Config]: Option<Config[K]> } = {
  port: {
    flag: "port",
    variable: "PORT",
    value: "N",
    fallback: "8000",
    help: "TCP port; 0 picks a free one and prints it",
    parse: wholeNumber(0, 65_535),
  },
  host: {
    flag: "host",
    variable: "HOST",
    value: "ADDRESS",
    fallback: "127.0.0.1",
    help: "address to listen on; beyond this machine it takes a key, or --open",
    parse: nonEmpty,
  },
  reusePort: {
    flag: "reuse-port",
    variable: "RAINDROPS_REUSE_PORT",
    value: "",
    fallback: "",
    help: "share the port with other nodes on this machine, among which connections are divided",
    parse: onOrOff,
  },
  listener: {
    flag: "listener",
    variable: "RAINDROPS_LISTENER",
    value: "NAME",
    fallback: "deno",
    help: "who owns the port: deno, or node, which stands up to the open internet",
    parse: oneOf("deno", "node"),
  },
  cert: {
    flag: "cert",
    variable: "RAINDROPS_CERT",
    value: "FILE",
    fallback: "",
    help: "certificate in PEM, to serve https and wss; needs --key too",
    parse: optional,
  },
  key: {
    flag: "key",
    variable: "RAINDROPS_KEY",
    value: "FILE",
    fallback: "",
    help: "private key of the certificate, in PEM",
    parse: optional,
  },
  open: {
    flag: "open",
    variable: "RAINDROPS_OPEN",
    value: "",
    fallback: "",
    help: "let everybody read and publish, beyond this machine too",
    parse: onOrOff,
  },
  log: {
    flag: "log",
    variable: "RAINDROPS_LOG",
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
    flag: "node-name",
    variable: "RAINDROPS_NODE_NAME",
    value: "NAME",
    fallback: "raindrops",
    help: "what this node is called among those that share the log",
    parse: nonEmpty,
  },
  natsUser: {
    flag: undefined,
    variable: "RAINDROPS_NATS_USER",
    value: "",
    fallback: "",
    help: "user of a NATS log",
    parse: optional,
  },
  natsPassword: {
    flag: undefined,
    variable: "RAINDROPS_NATS_PASSWORD",
    value: "",
    fallback: "",
    help: "its password",
    parse: optional,
  },
  natsToken: {
    flag: undefined,
    variable: "RAINDROPS_NATS_TOKEN",
    value: "",
    fallback: "",
    help: "token of a NATS log",
    parse: optional,
  },
  natsCreds: {
    flag: "nats-creds",
    variable: "RAINDROPS_NATS_CREDS",
    value: "FILE",
    fallback: "",
    help: "credentials file of a NATS log",
    parse: optional,
  },
  natsCa: {
    flag: "nats-ca",
    variable: "RAINDROPS_NATS_CA",
    value: "FILE",
    fallback: "",
    help: "certificates in PEM that a NATS log's servers are trusted by, beside the public ones",
    parse: optional,
  },
  rules: {
    flag: "rules",
    variable: "RAINDROPS_RULES",
    value: "FILE",
    fallback: "",
    help: "JSON file with channel rules",
    parse: optional,
  },
  origins: {
    flag: "origins",
    variable: "RAINDROPS_ORIGINS",
    value: "LIST",
    fallback: "",
    help: "other origins whose pages may connect, by comma, such as https://example.org; * allows all",
    parse: (text) => text === "" ? [] : text.split(",").map((item) => parseOrigin(item.trim())),
  },
  tokenSecret: {
    flag: undefined,
    variable: "RAINDROPS_TOKEN_SECRET",
    value: "",
    fallback: "",
    help: "secret that clients' tokens are signed with (HS256, HS384, HS512)",
    parse: optional,
  },
  tokenKey: {
    flag: "token-key",
    variable: "RAINDROPS_TOKEN_KEY",
    value: "FILE",
    fallback: "",
    help: "public key in PEM that clients' tokens are signed with",
    parse: optional,
  },
  tokenJwks: {
    flag: "token-jwks",
    variable: "RAINDROPS_TOKEN_JWKS",
    value: "FILE|URL",
    fallback: "",
    help: "JSON Web Key Set that clients' tokens are signed with",
    parse: optional,
  },
  apiKeys: {
    flag: undefined,
    variable: "RAINDROPS_API_KEYS",
    value: "",
    fallback: "",
    help:
      "keys that may do everything, the HTTP API included, by comma; several let them be changed one by one",
    parse: parseApiKeys,
  },
  tokenAudience: {
    flag: "token-audience",
    variable: "RAINDROPS_TOKEN_AUDIENCE",
    value: "NAME",
    fallback: "",
    help: "audience that tokens must name",
    parse: optional,
  },
  tokenIssuer: {
    flag: "token-issuer",
    variable: "RAINDROPS_TOKEN_ISSUER",
    value: "NAME",
    fallback: "",
    help: "issuer that tokens must name",
    parse: optional,
  },
  maxBodyBytes: {
    flag: "max-body-bytes",
    variable: "RAINDROPS_MAX_BODY_BYTES",
    value: "N",
    fallback: String(1024 * 1024),
    help: "largest HTTP request body",
    parse: wholeNumber(1, 1024 ** 3),
  },
  maxMessageBytes: {
    flag: "max-message-bytes",
    variable: "RAINDROPS_MAX_MESSAGE_BYTES",
    value: "N",
    fallback: String(64 * 1024),
    help: "largest message, by HTTP or by socket",
    parse: wholeNumber(1, 32 * 1024 ** 2),
  },
  maxConnections: {
    flag: "max-connections",
    variable: "RAINDROPS_MAX_CONNECTIONS",
    value: "N",
    fallback: "50000",
    help: "WebSockets and streams at a time; 0 for no limit",
    parse: limit,
  },
  maxConnectionsPerAddress: {
    flag: "max-connections-per-address",
    variable: "RAINDROPS_MAX_CONNECTIONS_PER_ADDRESS",
    value: "N",
    fallback: "",
    help: "the same from one IP address (500, and no limit for this machine)",
    parse: boundOr(500),
  },
  maxPublishRate: {
    flag: "max-publish-rate",
    variable: "RAINDROPS_MAX_PUBLISH_RATE",
    value: "N",
    fallback: "",
    help: "messages a second from one client (100, and no limit for this machine)",
    parse: boundOr(100),
  },
  maxPublishRatePerAddress: {
    flag: "max-publish-rate-per-address",
    variable: "RAINDROPS_MAX_PUBLISH_RATE_PER_ADDRESS",
    value: "N",
    fallback: "",
    help: "messages a second from one IP address (1000, and no limit for this machine)",
    parse: boundOr(1_000),
  },
  publishBurst: {
    flag: "publish-burst",
    variable: "RAINDROPS_PUBLISH_BURST",
    value: "SECONDS",
    fallback: "5",
    help: "how many seconds' worth of messages may come at once",
    parse: wholeNumber(1, 3_600),
  },
  maxSubscriptions: {
    flag: "max-subscriptions",
    variable: "RAINDROPS_MAX_SUBSCRIPTIONS",
    value: "N",
    fallback: "1000",
    help: "channels and patterns one connection may be on; 0 for no limit",
    parse: limit,
  },
  maxChannels: {
    flag: "max-channels",
    variable: "RAINDROPS_MAX_CHANNELS",
    value: "N",
    fallback: "100000",
    help: "channels the log remembers, some 1.5 KB of memory each; 0 for no limit",
    parse: limit,
  },
  maxChannelLength: {
    flag: "max-channel-length",
    variable: "RAINDROPS_MAX_CHANNEL_LENGTH",
    value: "N",
    fallback: String(MAX_CHANNEL_LENGTH),
    help: "longest channel name, in characters",
    parse: wholeNumber(1, MAX_CHANNEL_LENGTH),
  },
  trustedProxies: {
    flag: "trusted-proxy",
    variable: "RAINDROPS_TRUSTED_PROXY",
    value: "LIST",
    fallback: "",
    help: "networks of proxies that say whose requests they pass on, by comma, such as 10.0.0.0/8",
    parse: (text) => text === "" ? [] : text.split(",").map((item) => parseNetwork(item.trim())),
  },
  proxyHeader: {
    flag: "proxy-header",
    variable: "RAINDROPS_PROXY_HEADER",
    value: "NAME",
    fallback: "x-forwarded-for",
    help: "the header in which they do: x-forwarded-for or forwarded",
    parse: oneOf("x-forwarded-for", "forwarded"),
  },
  maxQueueMessages: {
    flag: "max-queue-messages",
    variable: "RAINDROPS_MAX_QUEUE_MESSAGES",
    value: "N",
    fallback: "4096",
    help: "messages that may wait for one slow reader before it is cut off",
    parse: wholeNumber(1, 1_000_000),
  },
  maxQueueBytes: {
    flag: "max-queue-bytes",
    variable: "RAINDROPS_MAX_QUEUE_BYTES",
    value: "N",
    fallback: String(4 * 1024 * 1024),
    help: "bytes that may wait for one slow reader before it is cut off",
    parse: wholeNumber(1, 1024 ** 3),
  },
  handshakeTimeout: {
    flag: "handshake-timeout",
    variable: "RAINDROPS_HANDSHAKE_TIMEOUT",
    value: "SECONDS",
    fallback: "10",
    help: "time a Centrifuge client has to send its connect command",
    parse: wholeNumber(1, 3_600),
  },
  idleTimeout: {
    flag: "idle-timeout",
    variable: "RAINDROPS_IDLE_TIMEOUT",
    value: "SECONDS",
    fallback: "30",
    help: "silence after which a WebSocket is pinged, and dropped if it stays silent",
    parse: wholeNumber(1, 3_600),
  },
  headerTimeout: {
    flag: "header-timeout",
    variable: "RAINDROPS_HEADER_TIMEOUT",
    value: "SECONDS",
    fallback: "10",
    help: "time a client has to send the headers of a request (node listener)",
    parse: wholeNumber(1, 3_600),
  },
  bodyTimeout: {
    flag: "body-timeout",
    variable: "RAINDROPS_BODY_TIMEOUT",
    value: "SECONDS",
    fallback: "30",
    help: "time a client has to send a request's body, and (node listener) to take some of an answer",
    parse: wholeNumber(1, 3_600),
  },
  keepAlive: {
    flag: "keep-alive",
    variable: "RAINDROPS_KEEP_ALIVE",
    value: "SECONDS",
    fallback: "25",
    help: "pause between the keep-alive lines of streams",
    parse: wholeNumber(1, 3_600),
  },
  pingInterval: {
    flag: "ping-interval",
    variable: "RAINDROPS_PING_INTERVAL",
    value: "SECONDS",
    fallback: "25",
    help: "pause between the pings of a Centrifuge connection",
    parse: wholeNumber(1, 3_600),
  },
  pongTimeout: {
    flag: "pong-timeout",
    variable: "RAINDROPS_PONG_TIMEOUT",
    value: "SECONDS",
    fallback: "8",
    help: "time a Centrifuge client has to answer a ping",
    parse: wholeNumber(1, 3_600),
  },
  logFormat: {
    flag: "log-format",
    variable: "RAINDROPS_LOG_FORMAT",
    value: "FORMAT",
    fallback: "text",
    help: "lines on stderr: text or json",
    parse: oneOf("text", "json"),
  },
  logLevel: {
    flag: "log-level",
    variable: "RAINDROPS_LOG_LEVEL",
    value: "LEVEL",
    fallback: "info",
    help: "least level that is written: debug, info, warn or error",
    parse: oneOf("debug", "info", "warn", "error"),
  },
};

function wholeNumber(from: number, to: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < from || value > to) {
      throw new SyntaxError(`give a whole number from ${from} to ${to}`);
    }
    return value;
  };
}

/** A whole number, of which 0 stands for no limit. */
function limit(text: string): number {
  return wholeNumber(0, Number.MAX_SAFE_INTEGER)(text) || Infinity;
}

/** A limit that holds for everybody once it is set; until then it is a default one, and spares this machine. */
function boundOr(fallback: number): (text: string) => Bound {
  return (text) =>
    text === "" ? { value: fallback, sparesLoopback: true } : { value: limit(text), sparesLoopback: false };
}

function oneOf<T extends string>(...values: readonly T[]): (text: string) => T {
  return (text) => {
    const value = values.find((candidate) => candidate === text);
    if (value === undefined) throw new SyntaxError(`use ${values.join(" or ")}`);
    return value;
  };
}

function onOrOff(text: string): boolean {
  if (["true", "1", "yes"].includes(text)) return true;
  if (["", "false", "0", "no"].includes(text)) return false;
  throw new SyntaxError("use true or false");
}

function optional(text: string): string | undefined {
  return text === "" ? undefined : text;
}

function nonEmpty(text: string): string {
  if (text.trim() === "") throw new SyntaxError("it must not be empty");
  return text;
}
