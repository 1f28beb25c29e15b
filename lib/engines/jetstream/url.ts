/** Reads the URL of an engine on NATS JetStream, such as `nats://one:4222,two:4222?stream=raindrops&replicas=3`. */

export interface JetStreamUrl {
  /** Each as `host:port`. */
  readonly servers: readonly string[];
  readonly tls: boolean;
  /** The stream's name, with which the subjects begin too. */
  readonly stream: string;
  /** On how many servers of a cluster the stream is kept, when it is created. */
  readonly replicas: 1 | 3;
}

const DEFAULT_PORT = 4222;

/** The schemes of such URLs. */
export const JETSTREAM_SCHEMES: ReadonlySet<string> = new Set(["nats", "tls", "nats+tls"]);

/**
 * @param scheme what stands before the colon, one of {@linkcode JETSTREAM_SCHEMES}
 * @param rest what follows it
 * @throws {SyntaxError} saying what is wrong, without what may be a password
 */
export function parseJetStreamUrl(scheme: string, rest: string): JetStreamUrl {
  const [, authority = "", query = ""] = /^\/\/([^/?]*)\/?(?:\?(.*))?$/s.exec(rest) ?? [];
  if (authority === "") {
    throw new SyntaxError(
      `A NATS engine names its servers, as in "${scheme}://127.0.0.1:4222?stream=raindrops"`,
    );
  }
  if (authority.includes("@")) {
    throw new SyntaxError(
      "A NATS engine has no credentials in its URL, where they would be seen: set RAINDROPS_NATS_USER and " +
        "RAINDROPS_NATS_PASSWORD, RAINDROPS_NATS_TOKEN or RAINDROPS_NATS_CREDS",
    );
  }
  let stream = "raindrops";
  let replicas: 1 | 3 = 1;
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === "stream") stream = parseStream(value);
    else if (name === "replicas") replicas = parseReplicas(value);
    else {
      throw new SyntaxError(`A NATS engine has no parameter "${name}": there are stream and replicas`);
    }
  }
  return { servers: authority.split(",").map(parseServer), tls: scheme !== "nats", stream, replicas };
}

function parseServer(server: string): string {
  const [, host, port = String(DEFAULT_PORT)] = /^([^\s:[\]]+|\[[0-9a-fA-F:.]+\])(?::(\d+))?$/.exec(server) ??
    [];
  if (host === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw new SyntaxError(`A NATS server is "host:port", or several by comma, not "${server}"`);
  }
  return `${host}:${port}`;
}

function parseStream(name: string): string {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) {
    throw new SyntaxError(`A stream's name has 1 to 64 letters, digits, "_" and "-", unlike "${name}"`);
  }
  return name;
}

function parseReplicas(value: string): 1 | 3 {
  if (value !== "1" && value !== "3") throw new SyntaxError(`replicas is 1 or 3, not "${value}"`);
  return value === "1" ? 1 : 3;
}
