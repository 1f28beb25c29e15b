/** What the readers of the `--hooks` file share: objects, their keys, and URLs that may be called. */
import { formatPermissionCure } from "../base/task.ts";

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @throws {SyntaxError} naming a key that has no meaning */
export function refuseUnknown(value: object, keys: readonly string[], where: string): void {
  for (const key of Object.keys(value)) {
    if (!keys.includes(key)) {
      throw new SyntaxError(
        `${where} has the unknown key ${JSON.stringify(key)}: there are ${keys.join(", ")}`,
      );
    }
  }
}

/**
 * Reads the URL of a target.
 *
 * @throws {SyntaxError} for one that cannot be called, or would show a password in logs
 */
export function parseTargetUrl(value: unknown, where: string): URL {
  const url = typeof value === "string" ? URL.parse(value) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw new SyntaxError(`${where} needs a URL that begins with https:// or http://`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new SyntaxError(`${where}: leave user and password out of the URL, the signature says who calls`);
  }
  url.hash = "";
  return url;
}

/**
 * Refuses a target that Deno's permissions do not cover, at start rather than with each call.
 *
 * @param setting that names the target
 * @throws {SyntaxError} saying which flag is missing
 */
export function demandPermission(url: URL, setting = "--hooks"): void {
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  const host = `${url.hostname}:${port}`;
  if (Deno.permissions.querySync({ name: "net", host }).state === "granted") return;
  throw new SyntaxError(
    `Deno's permissions do not cover ${host} of ${setting}: ` +
      formatPermissionCure(`--allow-net=${host}`, Deno.execPath()),
  );
}

/**
 * Why a request could not be made, for the log: what is behind the "fetch failed" of Deno, without the query of the URL that
 * it names, which may hold a secret.
 */
export function describeFailure({ message, cause }: Error, { search }: URL): string {
  const text = cause instanceof Error ? cause.message : message;
  return search === "" ? text : text.replaceAll(search, "?...");
}
