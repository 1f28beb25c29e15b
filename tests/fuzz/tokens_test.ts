/** Changes good tokens in every way there is to change a text, and mixes them: none of it is ever taken. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { base64url, exportSPKI, generateKeyPair, SignJWT } from "jose";
import { openKeys } from "../../lib/auth/keys.ts";
import { TokenVerifier } from "../../lib/auth/tokens.ts";

const SECRET = "a-secret-that-is-long-enough-for-hmac";
const { publicKey, privateKey } = await generateKeyPair("RS256", { extractable: true });
const PEM = await exportSPKI(publicKey);
const VERIFIER = new TokenVerifier({
  keys: openKeys([{ kind: "secret", secret: SECRET }, { kind: "pem", text: PEM }]),
});

const hmac = (claims: Record<string, unknown>, secret = SECRET) =>
  new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(secret));
const rsa = (claims: Record<string, unknown>) =>
  new SignJWT(claims).setProtectedHeader({ alg: "RS256" }).sign(privateKey);

const GOOD = await Promise.all([
  hmac({ sub: "ann" }),
  hmac({ sub: "root", channels: ["news"] }),
  rsa({ sub: "bob" }),
]);

/** Parts that an attacker may put in place of others: other algorithms, keys of theirs, the key as a secret. */
const FORGED = [
  ...["none", "NONE", "None", "", "HS512", "RS256", "ES256"].map((alg) =>
    base64url.encode(JSON.stringify({ alg }))
  ),
  base64url.encode(JSON.stringify({ alg: "RS256", jwk: { kty: "oct", k: "AAAA" } })),
  base64url.encode(JSON.stringify({ alg: "HS256", jku: "http://127.0.0.1:9/", kid: "../../dev/null" })),
  base64url.encode(JSON.stringify({ sub: "root" })),
  ...(await hmac({ sub: "root" }, PEM)).split("."),
  ...(await hmac({ sub: "root" }, "\0")).split("."),
  "",
];

type Edit = (token: string) => string;

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.tuple(fc.nat(), fc.nat(5), fc.string({ maxLength: 3 })).map(([at, cut, put]): Edit => (token) => {
    const start = at % token.length;
    return token.slice(0, start) + put + token.slice(start + cut);
  }),
  fc.tuple(fc.nat(2), fc.constantFrom(...FORGED, ...GOOD.flatMap((token) => token.split(".")))).map(
    ([part, other]): Edit => (token) => Object.assign(token.split("."), { [part]: other }).join("."),
  ),
  fc.nat().map((length): Edit => (token) => token.slice(0, length % token.length)),
  fc.constantFrom<Edit>(
    (token) => token.toUpperCase(),
    (token) => token.split(".").reverse().join("."),
    (token) => `${token}.`,
    (token) => token + token,
    (token) => ` ${token}`,
    (token) => `${token}=`,
    (token) => token.replaceAll("-", "+").replaceAll("_", "/"),
  ),
);

/** What the parts of a token say: the last character of each may be written in several ways. */
function readParts(token: string): string {
  try {
    return token.split(".").map((part) => base64url.decode(part).toHex()).join(".");
  } catch {
    return token;
  }
}

Deno.test("No token that was changed, cut or mixed with another is ever taken", async () => {
  for (const token of GOOD) assert.equal((await VERIFIER.verifyConnectionToken(token)).kind, "valid");
  const good = new Set(GOOD.map(readParts));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...GOOD),
      fc.array(edit, { minLength: 1, maxLength: 3 }),
      async (token, edits) => {
        const changed = edits.reduce((text, change) => text.length === 0 ? text : change(text), token);
        if (good.has(readParts(changed))) return;
        const result = await VERIFIER.verifyConnectionToken(changed);
        assert.equal(result.kind, "invalid", changed);
        assert.ok(
          result.kind === "invalid" && /^the token /.test(result.reason) && !result.reason.includes(SECRET),
        );
      },
    ),
    { numRuns: 1_000 },
  );
});
