/** Explanations agree with the verifier: a token is taken if and only if every check of it passes. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { SignJWT } from "jose";
import { openKeys } from "../../lib/auth/keys.ts";
import { explainToken } from "../../lib/auth/token_explain.ts";
import { mintToken, toSecretKey } from "../../lib/auth/token_mint.ts";

const SECRET = "a secret of more than thirty-two bytes";
const NOW = 1_800_000_000;
const keys = openKeys([{ kind: "secret", secret: SECRET }]);

Deno.test("explainToken() finds a failing check for each token the server refuses, and none for those it takes", async () => {
  const moment = fc.constantFrom<unknown>(undefined, 0, NOW - 60, NOW, NOW + 1, NOW + 60, "soon");
  const claims = fc.record({
    sub: fc.constantFrom<unknown>(undefined, "ann", 7),
    exp: moment,
    nbf: moment,
    expire_at: moment,
    aud: fc.constantFrom<unknown>(undefined, "rain", ["snow", "rain"], "snow", 7),
    iss: fc.constantFrom<unknown>(undefined, "me", "you"),
    channel: fc.constantFrom<unknown>(undefined, "", "news", 7),
    grants: fc.constantFrom<unknown>(undefined, { "chat/*": ["publish"] }, { "chat/*": ["pub"] }, []),
  });
  const options = fc.record({
    audience: fc.constantFrom(undefined, "rain"),
    issuer: fc.constantFrom(undefined, "me"),
    secret: fc.constantFrom(SECRET, SECRET, SECRET, "another"),
  });
  await fc.assert(
    fc.asyncProperty(claims, options, async (claims, { audience, issuer, secret }) => {
      const said = Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
      const token = await new SignJWT(said).setProtectedHeader({ alg: "HS256" }).sign(
        new TextEncoder().encode(secret),
      );
      const { checks, verdict } = await explainToken(token, {
        keys,
        audience,
        issuer,
        now: () => NOW * 1_000,
      });
      const failed = checks.filter(({ passed }) => !passed);
      assert.equal(verdict.accepted, failed.length === 0, JSON.stringify([said, verdict, failed]));
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("explainToken() stands any text", async () => {
  const text = fc.oneof(
    fc.string(),
    fc.array(fc.base64String(), { maxLength: 4 }).map((parts) => parts.join(".")),
  );
  await fc.assert(fc.asyncProperty(text, async (token) => {
    assert.equal((await explainToken(token, { keys })).verdict.accepted, false);
  }));
});

Deno.test("mintToken() says what it was told, and nothing that was left out", async () => {
  const token = await mintToken({ user: "ann", lifetime: 60 }, toSecretKey(SECRET), NOW * 1_000 + 999);
  const { payload, purpose } = await explainToken(token, { keys });
  assert.deepEqual(payload, { sub: "ann", iat: NOW, exp: NOW + 60 });
  assert.equal(purpose?.kind, "connection");
});
