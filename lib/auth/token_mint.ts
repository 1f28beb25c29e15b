/**
 * Signs tokens that the server accepts, for experiments and small backends. `deno task token` and the inspector call
 * it.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { SignJWT } from "jose";
import { parseChannel, parseRulePattern } from "../core/channel.ts";
import { type Action, ACTIONS } from "../core/rules.ts";

/** A signing key. */
export interface SigningKey {
  readonly algorithm: string;
  readonly material: KeyObject | Uint8Array;
}

/** The contents of a new token. */
interface TokenRequest {
  /** "" for the anonymous user. */
  readonly user: string;
  /** Seconds until the token expires; undefined for never. */
  readonly lifetime: number | undefined;
  /** Makes it a subscription token for this channel. */
  readonly channel?: string | undefined;
  /** Channels that the connection is subscribed to from the start. */
  readonly channels?: readonly string[];
  /** What the connection may do, by pattern. */
  readonly grants?: ReadonlyMap<string, readonly Action[]>;
  /** What others on a channel see, any JSON value. */
  readonly info?: unknown;
  readonly audience?: string | undefined;
  readonly issuer?: string | undefined;
  /** The id of the key (`kid`), for servers with several. */
  readonly keyId?: string | undefined;
}

const CURVES: ReadonlyMap<string, string> = new Map([
  ["prime256v1", "ES256"],
  ["secp384r1", "ES384"],
  ["secp521r1", "ES512"],
]);

/** A secret as a key. */
export function toSecretKey(secret: string): SigningKey {
  return { algorithm: "HS256", material: new TextEncoder().encode(secret) };
}

/**
 * Parses a private key in PEM: RSA, P-256, P-384, P-521 or Ed25519.
 *
 * @throws {SyntaxError} for anything else, without quoting it
 */
export function parsePrivateKey(text: string): SigningKey {
  let material: KeyObject;
  try {
    material = createPrivateKey(text);
  } catch {
    throw new SyntaxError(
      /-----BEGIN PUBLIC KEY-----/.test(text)
        ? "It is a public key: tokens are signed with the private one"
        : 'It is not a private key in PEM form ("-----BEGIN PRIVATE KEY-----"), or it is encrypted',
    );
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = material;
  if (type === "rsa") return { algorithm: "RS256", material };
  if (type === "ed25519") return { algorithm: "EdDSA", material };
  const algorithm = CURVES.get(details?.namedCurve ?? "");
  if (algorithm === undefined) {
    throw new SyntaxError("It is neither an RSA key nor on the curve P-256, P-384, P-521 or Ed25519");
  }
  return { algorithm, material };
}

/** The public half of a private key in PEM, in PEM. */
export function toPublicPem(text: string): string {
  parsePrivateKey(text);
  return createPublicKey(text).export({ type: "spki", format: "pem" }).toString();
}

/**
 * Signs a token.
 *
 * @param now in milliseconds since 1970
 * @throws {SyntaxError} for an invalid name or pattern, or contents that exclude each other
 */
export async function mintToken(request: TokenRequest, key: SigningKey, now: number): Promise<string> {
  const { user, lifetime, grants = new Map(), info, audience, issuer, keyId } = request;
  const channel = request.channel === undefined ? undefined : parseChannel(request.channel);
  const channels = (request.channels ?? []).map(parseChannel);
  if (channel !== undefined) {
    if (channels.length > 0 || grants.size > 0) {
      throw new SyntaxError("A subscription token is for one channel: leave out channels and grants");
    }
  }
  for (const pattern of grants.keys()) parseRulePattern(pattern);
  const seconds = Math.floor(now / 1_000);
  const claims = {
    sub: user,
    iat: seconds,
    ...(lifetime === undefined ? {} : { exp: seconds + lifetime }),
    ...(channel === undefined ? {} : { channel }),
    ...(channels.length === 0 ? {} : { channels }),
    ...(grants.size === 0 ? {} : { grants: Object.fromEntries(grants) }),
    ...(info === undefined ? {} : { info }),
    ...(audience === undefined ? {} : { aud: audience }),
    ...(issuer === undefined ? {} : { iss: issuer }),
  };
  const header = { alg: key.algorithm, typ: "JWT", ...(keyId === undefined ? {} : { kid: keyId }) };
  return await new SignJWT(claims).setProtectedHeader(header).sign(key.material);
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/**
 * Parses a lifetime: `90s`, `15m`, `1h`, `7d` or `never`.
 *
 * @returns seconds; undefined for never
 * @throws {SyntaxError} for anything else
 */
export function parseSpan(text: string): number | undefined {
  if (text === "never") return undefined;
  const [, count, unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const seconds = Number(count) * (UNITS[unit] ?? 0);
  if (!(seconds > 0)) {
    throw new SyntaxError(`${JSON.stringify(text)} is no lifetime: write 90s, 15m, 1h, 7d or never`);
  }
  return seconds;
}

/**
 * Parses a grant, such as `chat/*=subscribe,publish` or `news=all`.
 *
 * @returns the pattern and what it allows
 * @throws {SyntaxError} for anything else
 */
export function parseGrant(text: string): [string, readonly Action[]] {
  // A pattern may contain "=", too.
  const [, pattern, list = ""] = /^(.+)=([a-z,]*)$/.exec(text) ?? [];
  const words = list === "all" ? [...ACTIONS] : list.split(",");
  const actions = ACTIONS.filter((action) => words.includes(action));
  if (pattern === undefined || actions.length !== words.length) {
    throw new SyntaxError(
      `${JSON.stringify(text)} is no grant: write PATTERN=LIST, of ${
        ACTIONS.join(", ")
      }, such as 'chat/*=subscribe'`,
    );
  }
  return [pattern, actions];
}
