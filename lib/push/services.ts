/**
 * The push services that may be sent to. A subscription names a URL of the browser's choice: without this list, whoever
 * subscribes could have this server call hosts of its own network.
 */
import { formatPermissionCure } from "../base/task.ts";

/** A host of a push service, or all hosts below one. */
export interface PushService {
  /** As it was written, for messages. */
  readonly text: string;
  /** Without `*.`, in lower case. */
  readonly host: string;
  readonly port: number;
  /** Whether the hosts below it are meant, and not itself. */
  readonly isWildcard: boolean;
}

const HTTPS_PORT = 443;

/** @throws {SyntaxError} for a text that is no host */
export function parsePushService(text: string): PushService {
  const isWildcard = text.startsWith("*.");
  const url = URL.parse(`https://${isWildcard ? text.slice(2) : text}/`);
  const isHost = url !== null && url.pathname === "/" && url.search === "" && url.hash === "" &&
    url.username === "" && url.password === "" && !/[/?#@*]/.test(isWildcard ? text.slice(2) : text);
  if (!isHost) throw new SyntaxError(`give hosts such as push.example.org, not ${JSON.stringify(text)}`);
  return { text, host: url.hostname, port: portOf(url), isWildcard };
}

/** Whether a URL belongs to one of the services: https, at its port, without user and password. */
export function isOfService(url: URL, services: readonly PushService[]): boolean {
  return url.protocol === "https:" && url.username === "" && url.password === "" &&
    services.some(({ host, port, isWildcard }) =>
      portOf(url) === port && (isWildcard ? url.hostname.endsWith(`.${host}`) : url.hostname === host)
    );
}

/**
 * Refuses services that Deno's permissions do not cover, at start rather than with each message.
 *
 * @throws {SyntaxError} saying what to do
 */
export function demandServices(services: readonly PushService[]): void {
  // Some name below a wildcard stands for all of them.
  const missing = services.filter(({ host, port, isWildcard }) =>
    Deno.permissions.querySync({ name: "net", host: `${isWildcard ? "any." : ""}${host}:${port}` }).state !==
      "granted"
  );
  if (missing.length === 0) return;
  const hosts = missing.map(({ text }) => text).join(",");
  throw new SyntaxError(
    `Deno's permissions do not cover ${hosts} of --push-services: ` +
      `${formatPermissionCure(`--allow-net=${hosts}`, Deno.execPath())}, or name other services`,
  );
}

function portOf({ port }: URL): number {
  return port === "" ? HTTPS_PORT : Number(port);
}
