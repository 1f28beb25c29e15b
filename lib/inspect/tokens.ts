/**
 * The inspector's desk for tokens: makes one, and says what the server thinks of one. The secret stays on the server.
 */
import type { Hono } from "hono";
import type { Gate } from "../auth/gate.ts";
import type { Keys } from "../auth/keys.ts";
import { describeChannel, describePurpose } from "../auth/token_describe.ts";
import { explainToken } from "../auth/token_explain.ts";
import { mintToken, parseGrant, parseSpan, toSecretKey } from "../auth/token_mint.ts";
import { parseChannel } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { readBytes } from "../http/body.ts";
import { parseOr } from "../http/problem.ts";

/** What tokens are signed and checked with. */
export interface TokenSources {
  readonly gate: Gate;
  readonly logger: Logger;
  readonly tokens: {
    /** The keys that tokens are checked with; undefined where none are. */
    readonly keys: Keys | undefined;
    /** `RAINDROPS_TOKEN_SECRET`; undefined where tokens are signed elsewhere, with a private key. */
    readonly secret: string | undefined;
    readonly audience: string | undefined;
    readonly issuer: string | undefined;
  };
}

/** More than any token has. */
const LIMITS = { maxBodyBytes: 64 * 1024, bodyTimeout: 10 };
const MAX_USER_LENGTH = 255;

/** The middleware of the routes lets operators in alone. */
export function addTokenRoutes(routes: Hono, { gate, logger, tokens }: TokenSources): void {
  const { keys, secret, audience, issuer } = tokens;
  routes.get("/tokens", (c) => c.json({ checks: keys !== undefined, makes: secret !== undefined }));
  routes.post("/token", async (c) => {
    if (secret === undefined) {
      throw new MessagingError(
        "not_available",
        keys === undefined
          ? "Tokens are not checked here: set RAINDROPS_TOKEN_SECRET first"
          : "This server has no secret to sign with: tokens are made where the private key is",
      );
    }
    const fields = await readFields(c.req.raw);
    const user = readText(fields, "user");
    if (user.length > MAX_USER_LENGTH) {
      throw new MessagingError("bad_option", `user is longer than ${MAX_USER_LENGTH} characters`);
    }
    const channel = readText(fields, "channel");
    const grants = readText(fields, "grants").split("\n").map((line) => line.trim()).filter((line) =>
      line !== ""
    );
    const lifetime = parseOr("bad_option", () => parseSpan(readText(fields, "expires") || "1h"));
    const request = parseOr("bad_option", () => ({
      user,
      lifetime,
      channel: channel === "" ? undefined : channel,
      grants: new Map(grants.map(parseGrant)),
      info: parseInfo(readText(fields, "info")),
      audience,
      issuer,
    }));
    const token = await mintToken(request, toSecretKey(secret), Date.now()).catch((cause) => {
      if (cause instanceof SyntaxError) throw new MessagingError("bad_option", cause.message, { cause });
      throw cause;
    });
    logger.write("info", "token made by operator", { user, channel: request.channel, expires: lifetime });
    return c.json({ token });
  });
  routes.post("/explain", async (c) => {
    const fields = await readFields(c.req.raw);
    const on = readText(fields, "channel");
    const channel = on === "" ? undefined : parseOr("bad_channel", () => parseChannel(on));
    const { purpose, ...explanation } = await explainToken(readText(fields, "token"), {
      keys,
      audience,
      issuer,
    });
    return c.json({
      ...explanation,
      purpose: purpose === undefined ? [] : describePurpose(purpose),
      decisions: purpose === undefined || channel === undefined
        ? []
        : describeChannel(purpose, channel, gate.rules.for(channel)),
    });
  });
}

async function readFields(request: Request): Promise<Readonly<Record<string, unknown>>> {
  const text = new TextDecoder().decode(await readBytes(request, LIMITS));
  const fields = parseFields(text);
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    throw new MessagingError("bad_body", "The body must be a JSON object");
  }
  return fields as Readonly<Record<string, unknown>>;
}

function parseFields(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Without the cause, which quotes the body: there may be a token in it.
    return undefined;
  }
}

function readText(fields: Readonly<Record<string, unknown>>, name: string): string {
  const value = Object.hasOwn(fields, name) ? fields[name] : "";
  if (typeof value !== "string") throw new MessagingError("bad_option", `${name} must be a text`);
  return value.trim();
}

function parseInfo(text: string): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SyntaxError(`info is not JSON: write it like {"name": "Ann"}`, { cause });
  }
}
