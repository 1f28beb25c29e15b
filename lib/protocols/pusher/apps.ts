/** The apps that Pusher's clients and servers belong to: reading them, and the names of their channels. */
import { parseJsonFile } from "../../base/json_file.ts";
import { type ChannelKind, parseKind } from "./channel_name.ts";

/** An app: `key` names it to clients, `id` to servers, `secret` signs. The secret is never shown. */
export interface App {
  readonly id: string;
  readonly key: string;
  readonly secret: string;
  /** Whether it is served; clients of a disabled app are told not to come back. */
  readonly enabled: boolean;
  /** Whether clients may publish events of their own, named `client-...`. */
  readonly clientEvents: boolean;
  /** Whether subscribers are told how many there are. */
  readonly subscriptionCounts: boolean;
  /** Largest data of one event, in bytes. */
  readonly maxEventBytes: number;
  /** Where events are told by POST, in Pusher's form. */
  readonly webhooks: readonly string[];
}

/** An app among others: its channels begin with a prefix where there are several, so that apps do not meet. */
export interface MountedApp extends App {
  readonly prefix: string;
}

/** Pusher's own limit. */
const DEFAULT_EVENT_BYTES = 10 * 1024;
const MAX_APPS = 10_000;

const KEYS = [
  "id",
  "key",
  "secret",
  "enabled",
  "clientEvents",
  "subscriptionCounts",
  "maxEventBytes",
  "webhooks",
];

/**
 * Parses `id:key:secret`, an app whose clients may publish.
 *
 * @throws {SyntaxError} which never repeats the text
 */
export function parseApp(text: string): App {
  const parts = text.split(":");
  if (parts.length !== 3) throw new SyntaxError("write the app as id:key:secret");
  const [id, key, secret] = parts as [string, string, string];
  return checkApp({ id, key, secret }, "The app");
}

/**
 * Parses a file of apps: a JSON array of objects with `id`, `key`, `secret`, and optionally `enabled` (true),
 * `clientEvents` (true), `subscriptionCounts` (false), `maxEventBytes` (10240) and `webhooks` (a list of URLs).
 *
 * @throws {SyntaxError} naming the app by its place, never by its secret
 */
export function parseApps(text: string): readonly App[] {
  const list = parseJsonFile(text);
  if (!Array.isArray(list) || list.length === 0) {
    throw new SyntaxError("it must hold a JSON array of apps, each with id, key and secret");
  }
  if (list.length > MAX_APPS) throw new SyntaxError(`it holds more than ${MAX_APPS} apps`);
  return list.map((value, index) => {
    const place = `App ${index + 1}`;
    if (typeof value !== "object" || value === null) throw new SyntaxError(`${place} must be an object`);
    const unknown = Object.keys(value).find((name) => !KEYS.includes(name));
    if (unknown !== undefined) {
      throw new SyntaxError(`${place} has the unknown key "${unknown.slice(0, 40)}": use ${KEYS.join(", ")}`);
    }
    return checkApp(value, place);
  });
}

function checkApp(value: Readonly<Record<string, unknown>> | object, place: string): App {
  const { id, key, secret, maxEventBytes, webhooks = [] } = value as Readonly<Record<string, unknown>>;
  const { enabled = true, clientEvents = true, subscriptionCounts = false } = value as Readonly<
    Record<string, unknown>
  >;
  for (const [name, text] of Object.entries({ id, key })) {
    // They stand in URLs as they are.
    if (typeof text !== "string" || !/^[A-Za-z0-9_-]{1,100}$/.test(text)) {
      throw new SyntaxError(`${place}: "${name}" must have 1 to 100 characters of A-Z a-z 0-9 _ -`);
    }
  }
  if (typeof secret !== "string" || secret === "" || secret.length > 200) {
    throw new SyntaxError(`${place}: "secret" must have 1 to 200 characters`);
  }
  if (
    typeof enabled !== "boolean" || typeof clientEvents !== "boolean" ||
    typeof subscriptionCounts !== "boolean"
  ) {
    throw new SyntaxError(
      `${place}: "enabled", "clientEvents" and "subscriptionCounts" must be true or false`,
    );
  }
  const bytes = maxEventBytes ?? DEFAULT_EVENT_BYTES;
  if (!Number.isSafeInteger(bytes) || Number(bytes) < 1) {
    throw new SyntaxError(`${place}: "maxEventBytes" must be a whole number from 1 on`);
  }
  const isUrl = (url: unknown) => typeof url === "string" && /^https?:/.test(url) && URL.canParse(url);
  if (!Array.isArray(webhooks) || !webhooks.every(isUrl)) {
    throw new SyntaxError(`${place}: "webhooks" must be a list of http:// or https:// URLs`);
  }
  return {
    id: String(id),
    key: String(key),
    secret,
    enabled,
    clientEvents,
    subscriptionCounts,
    maxEventBytes: Number(bytes),
    webhooks,
  };
}

/** The apps of a server, by id and by key. */
export class Apps {
  readonly #byId = new Map<string, MountedApp>();
  readonly #byKey = new Map<string, MountedApp>();
  readonly #list: readonly MountedApp[];

  /** @throws {SyntaxError} for two apps with one id or key */
  constructor(apps: readonly App[]) {
    this.#list = apps.map((app) => ({ ...app, prefix: apps.length === 1 ? "" : `${app.id}/` }));
    for (const app of this.#list) {
      if (this.#byId.has(app.id)) throw new SyntaxError(`Two Pusher apps have the id "${app.id}"`);
      if (this.#byKey.has(app.key)) {
        throw new SyntaxError(`Two Pusher apps have the key of the app "${app.id}"`);
      }
      this.#byId.set(app.id, app);
      this.#byKey.set(app.key, app);
    }
  }

  [Symbol.iterator](): Iterator<MountedApp> {
    return this.#list.values();
  }

  findById(id: string): MountedApp | undefined {
    return this.#byId.get(id);
  }

  findByKey(key: string): MountedApp | undefined {
    return this.#byKey.get(key);
  }

  /** Whether a channel, by its name in Raindrops, is one that an app keeps private. */
  isPrivate(channel: string): boolean {
    const slash = channel.indexOf("/");
    const only = this.#list.length === 1 ? this.#list[0] : undefined;
    const app = only ?? this.#byId.get(channel.slice(0, Math.max(0, slash)));
    if (app === undefined) return false;
    const kind: ChannelKind = parseKind(channel.slice(app.prefix.length));
    return kind.isPrivate;
  }
}
