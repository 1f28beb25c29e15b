/** Redaction: what looks like a credential is taken out, and what the server says of credentials stays readable. */
import assert from "node:assert/strict";
import { redact, REDACTED } from "../../lib/base/redact.ts";

const JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlLW9mLXRoaXJ0eQ";

const CASES: readonly (readonly [name: string, text: string, shown: string])[] = [
  ["a token", `refused ${JWT}, sorry`, `refused ${REDACTED}, sorry`],
  ["a token cut short", `refused ${JWT.slice(0, 30)}…`, `refused ${REDACTED}…`],
  ["a token in a query", `GET /news?token=abc&x=1`, `GET /news?token=${REDACTED}&x=1`],
  ["a token in JSON", `{"connect":{"token":"abc"}}`, `{"connect":{"token":"${REDACTED}"}}`],
  ["a token in JSON in JSON", String.raw`"{\"token\":\"abc\"}"`, String.raw`"{\"token\":\"${REDACTED}\"}"`],
  ["a bearer", "Authorization: Bearer abcdefgh12", `Authorization: Bearer ${REDACTED}`],
  ["an API key", "authorization: apikey a-key-of-16-chars", `authorization: apikey ${REDACTED}`],
  ["an API key's header", "X-API-Key: short", `X-API-Key: ${REDACTED}`],
  ["a URL's password", "nats://ann:pw@host:4222/", `nats://${REDACTED}@host:4222/`],
  ["a URL's token", "cannot reach nats://s3cr3t@host", `cannot reach nats://${REDACTED}@host`],
];

for (const [name, text, shown] of CASES) {
  Deno.test(`redact() takes out ${name}`, () => assert.equal(redact(text), shown));
}

for (
  const text of [
    "This needs a token: send it as Authorization: Bearer TOKEN",
    "The API needs a key: send it as X-API-Key: <key>, or as Authorization: apikey <key>",
    "Pages of https://example.org may not use this server: allow them with --origins",
    'Try: curl -H "X-API-Key: $KEY" -d hi http://localhost:8000/',
    "message received: it rains at https://example.org/a@b",
  ]
) {
  Deno.test(`redact() leaves alone: ${text}`, () => assert.equal(redact(text), text));
}

Deno.test("redact() takes out known secrets wherever they are, but no short words", () => {
  assert.equal(redact("a hunter2 b hunter2", ["hunter2"]), `a ${REDACTED} b ${REDACTED}`);
  assert.equal(redact("an apple", ["a"]), "an apple");
});
