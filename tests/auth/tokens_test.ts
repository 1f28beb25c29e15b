/** Tokens: every algorithm, every way to be wrong, and what each claim may be. Signed with jose, the clock is ours. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  base64url,
  type CryptoKey,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from "jose";
import { type Keys, openKeys } from "../../lib/auth/keys.ts";
import { type TokenOptions, TokenVerifier } from "../../lib/auth/tokens.ts";
import { FakeClock } from "../fakes/clock.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const SECRET_BYTES = new TextEncoder().encode(SECRET);
const CLOCK = new FakeClock();
/** Seconds since 1970. */
const NOW = CLOCK.now() / 1000;
const KEYS = openKeys([{ kind: "secret", secret: SECRET }]);
const EXPECTED = { channel: "news", user: "ann", client: "c1" };
/** Claims of a token that matches it. */
const SUBSCRIPTION = { sub: "ann", channel: "news" };

function verifier(options: Partial<TokenOptions> = {}): TokenVerifier {
  return new TokenVerifier({ keys: KEYS, now: CLOCK.now, ...options });
}

function sign(
  claims: Readonly<Record<string, unknown>>,
  key: CryptoKey | Uint8Array = SECRET_BYTES,
  header: JWTHeaderParameters = { alg: "HS256" },
): Promise<string> {
  return new SignJWT(claims as JWTPayload).setProtectedHeader(header).sign(key);
}

/** Signs any bytes as a payload, which jose's own signer would not do. */
async function signRaw(header: string, payload: string): Promise<string> {
  const input = `${base64url.encode(header)}.${base64url.encode(payload)}`;
  const key = await crypto.subtle.importKey("raw", SECRET_BYTES, { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  const signature = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(input));
  return `${input}.${base64url.encode(new Uint8Array(signature))}`;
}

/** The kind and reason a connection token comes to, in one text. */
async function connect(token: string, verify = verifier()): Promise<string> {
  const result = await verify.verifyConnectionToken(token);
  return result.kind === "valid" ? result.kind : `${result.kind}: ${result.reason}`;
}

/** The kind and reason a subscription token comes to, in one text. */
async function subscribe(token: string, expected = EXPECTED): Promise<string> {
  const result = await verifier().verifySubscriptionToken(token, expected);
  return result.kind === "valid" ? result.kind : `${result.kind}: ${result.reason}`;
}

for (const alg of ["HS256", "HS384", "HS512"]) {
  Deno.test(`verifyConnectionToken() takes ${alg}`, async () => {
    assert.equal(await connect(await sign({ sub: "ann" }, SECRET_BYTES, { alg })), "valid");
    const other = await sign({ sub: "ann" }, SECRET_BYTES.toReversed(), { alg });
    assert.equal(await connect(other), "invalid: the token is signed with none of the keys");
  });
}

for (const alg of ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]) {
  Deno.test(`verifyConnectionToken() takes ${alg} by PEM and by key set`, async () => {
    const [mine, other] = await Promise.all([
      generateKeyPair(alg, { extractable: true }),
      generateKeyPair(alg, { extractable: true }),
    ]);
    const jwk = { ...await exportJWK(mine.publicKey), kid: "a", alg };
    const token = await sign({ sub: "ann" }, mine.privateKey, { alg, kid: "a" });
    const forged = await sign({ sub: "ann" }, other.privateKey, { alg, kid: "a" });
    const unknown = await sign({ sub: "ann" }, mine.privateKey, { alg, kid: "b" });
    const byPem = verifier({ keys: openKeys([{ kind: "pem", text: await exportSPKI(mine.publicKey) }]) });
    const bySet = verifier({ keys: openKeys([{ kind: "jwks", text: JSON.stringify({ keys: [jwk] }) }]) });
    for (const verify of [byPem, bySet]) {
      assert.equal(await connect(token, verify), "valid");
      assert.equal(await connect(forged, verify), "invalid: the token is signed with none of the keys");
    }
    assert.equal(
      await connect(unknown, bySet),
      `invalid: the token is signed with "${alg}" and key "b", for which there is no key`,
    );
  });
}

Deno.test("verifyConnectionToken() tries every key that fits, so that keys can be rotated", async () => {
  const old = "another secret that is long enough to be one";
  const keys = openKeys([{ kind: "secret", secret: SECRET }, { kind: "secret", secret: old }]);
  for (const secret of [SECRET, old]) {
    assert.equal(
      await connect(await sign({}, new TextEncoder().encode(secret)), verifier({ keys })),
      "valid",
    );
  }
});

Deno.test("no token is verified by another algorithm than its key is for", async () => {
  const { publicKey } = await generateKeyPair("RS256", { extractable: true });
  const pem = await exportSPKI(publicKey);
  const jwk = await exportJWK(publicKey);
  const sources = [{ kind: "pem", text: pem }, {
    kind: "jwks",
    text: JSON.stringify({ keys: [jwk] }),
  }] as const;
  // The classic: a public key, known to all, used as the secret of an HMAC.
  for (const secret of [pem, pem.trim(), JSON.stringify(jwk), jwk.n ?? ""]) {
    const token = await sign({ sub: "root" }, new TextEncoder().encode(secret));
    for (const source of sources) {
      assert.equal(
        await connect(token, verifier({ keys: openKeys([source]) })),
        'invalid: the token is signed with "HS256", for which there is no key',
      );
    }
    assert.match(
      await connect(token, verifier({ keys: openKeys([...sources, { kind: "secret", secret: SECRET }]) })),
      /^invalid: .* none of the keys$/,
    );
  }
  const unsigned = new UnsecuredJWT({ sub: "root" }).encode();
  assert.equal(
    await connect(unsigned),
    'invalid: the token is signed with "none", for which there is no key',
  );
  for (const alg of ["None", "nOnE", "", "hs256", "HS1"]) {
    assert.match(
      await connect(await signRaw(JSON.stringify({ alg }), "{}")),
      /^invalid: .* there is no key$/,
    );
  }
  // A token that brings the key it wants to be verified with.
  const own = await generateKeyPair("ES256", { extractable: true });
  const header = { alg: "ES256", jwk: await exportJWK(own.publicKey), jku: "http://127.0.0.1/keys" };
  assert.match(
    await connect(await sign({ sub: "root" }, own.privateKey, header)),
    /^invalid: .* there is no key$/,
  );
});

const MALFORMED: readonly [string, string | Promise<string>, RegExp][] = [
  ["an empty text", "", /not a JSON Web Token/],
  ["a word", "token", /not a JSON Web Token/],
  ["two dots", "..", /not a JSON Web Token/],
  ["a header that is no JSON", signRaw("{", "{}"), /not a JSON Web Token/],
  ["a header that is a list", signRaw("[]", "{}"), /not a JSON Web Token/],
  ["a header without algorithm", signRaw("{}", "{}"), /names no algorithm/],
  ["an algorithm that is a number", signRaw('{"alg":1}', "{}"), /names no algorithm/],
  ["a key id that is a number", signRaw('{"alg":"HS256","kid":1}', "{}"), /"kid" is not a string/],
  ["an unknown critical extension", signRaw('{"alg":"HS256","crit":["x"],"x":1}', "{}"), /malformed/],
  ["an unencoded payload", signRaw('{"alg":"HS256","crit":["b64"],"b64":false}', "{}"), /malformed/],
  ["a payload that is no JSON", signRaw('{"alg":"HS256"}', "{"), /malformed/],
  ["a payload that is a list", signRaw('{"alg":"HS256"}', "[]"), /malformed/],
  ["a fourth part", sign({}).then((token) => `${token}.AAAA`), /not a JSON Web Token/],
  ["an encrypted token", "eyJhbGciOiJIUzI1NiJ9.e30.AA.AA.AA", /malformed/],
  ["more than 65536 characters", "a".repeat(65_537), /more than 65536/],
];

for (const [name, token, reason] of MALFORMED) {
  Deno.test(`verifyConnectionToken() calls ${name} invalid`, async () => {
    const answer = await connect(await token);
    assert.match(answer, /^invalid: the token/);
    assert.match(answer, reason);
  });
}

Deno.test("verifyConnectionToken() notices a change to any character of a token", async () => {
  const token = await sign({ sub: "ann", exp: NOW + 60 });
  await fc.assert(
    fc.asyncProperty(fc.nat(token.length - 1), fc.constantFrom(..."AQgwZz09-_."), async (at, other) => {
      const changed = token.slice(0, at) + other + token.slice(at + 1);
      // The last character of a base64url text of 32 bytes carries 4 bits: four characters mean the same.
      if (changed === token || at === token.length - 1) return;
      assert.match(await connect(changed), /^invalid: /);
    }),
  );
});

Deno.test("verifyConnectionToken() and verifySubscriptionToken() stand any text, and take none", async () => {
  const part = fc.oneof(
    fc.base64String().map((text) => text.replaceAll("=", "")),
    fc.json().map((text) => base64url.encode(text)),
    fc.constant(base64url.encode('{"alg":"HS256"}')),
    fc.string({ unit: "binary" }),
  );
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(part, { maxLength: 5 }).map((parts) => parts.join(".")),
  );
  await fc.assert(
    fc.asyncProperty(text, async (token) => {
      assert.match(await connect(token), /^invalid: the token /);
      assert.match(await subscribe(token), /^invalid: the token /);
    }),
    { numRuns: 500 },
  );
});

Deno.test("signed claims of any type end in one of the known kinds", async () => {
  const names = [
    "sub",
    "channel",
    "client",
    "exp",
    "nbf",
    "iat",
    "expire_at",
    "channels",
    "subs",
    "info",
    "meta",
  ];
  const claims = fc.dictionary(fc.constantFrom(...names), fc.jsonValue());
  await fc.assert(
    fc.asyncProperty(claims, async (values) => {
      const token = await signRaw('{"alg":"HS256"}', JSON.stringify(values));
      assert.match(await connect(token), /^(valid$|expired: the token|invalid: the token)/);
      assert.match(
        await subscribe(token),
        /^(valid$|expired: the token|invalid: the token|mismatch: the token)/,
      );
    }),
    { numRuns: 500 },
  );
});

const TIMES: readonly [string, Readonly<Record<string, unknown>>, string, number?][] = [
  ["no exp", {}, "valid", 0],
  ["exp to come", { exp: NOW + 1 }, "valid", NOW + 1],
  ["exp with a fraction", { exp: NOW + 1.5 }, "valid", NOW + 1],
  ["exp now", { exp: NOW }, "expired: the token has expired"],
  ["exp past", { exp: NOW - 1 }, "expired: the token has expired"],
  ["exp 0", { exp: 0 }, "expired: the token has expired"],
  ["exp as text", { exp: String(NOW + 1) }, 'invalid: the token\'s "exp" is not the expected one'],
  ["exp null", { exp: null }, 'invalid: the token\'s "exp" is not the expected one'],
  ["exp beyond all numbers", { exp: 1e300 }, 'invalid: the token\'s "exp" is not a number of seconds'],
  ["nbf past", { nbf: NOW }, "valid", 0],
  ["nbf to come", { nbf: NOW + 1 }, 'expired: the token is not valid yet ("nbf")'],
  ["nbf as text", { nbf: "now" }, 'invalid: the token\'s "nbf" is not the expected one'],
  ["iat as text", { iat: "now" }, 'invalid: the token\'s "iat" is not the expected one'],
  ["expire_at before exp", { exp: NOW + 9, expire_at: NOW + 5 }, "valid", NOW + 5],
  ["expire_at 0, which outlives exp", { exp: NOW + 9, expire_at: 0 }, "valid", 0],
  ["expire_at past", { exp: NOW + 9, expire_at: NOW }, "expired: the token's expire_at has passed"],
  ["exp past, whatever expire_at", { exp: NOW, expire_at: NOW + 9 }, "expired: the token has expired"],
  [
    "expire_at as text",
    { expire_at: "never" },
    'invalid: the token\'s "expire_at" is not a number of seconds',
  ],
];

for (const [name, claims, expected, expires] of TIMES) {
  Deno.test(`a token with ${name} is ${expected}`, async () => {
    const connection = await signRaw('{"alg":"HS256"}', JSON.stringify(claims));
    const subscription = await signRaw('{"alg":"HS256"}', JSON.stringify({ ...SUBSCRIPTION, ...claims }));
    assert.equal(await connect(connection), expected);
    assert.equal(await subscribe(subscription), expected);
    for (
      const result of [
        await verifier().verifyConnectionToken(connection),
        await verifier().verifySubscriptionToken(subscription, EXPECTED),
      ]
    ) if (result.kind === "valid") assert.equal(result.claims.expires, expires);
  });
}

Deno.test("a token expires as the clock moves, and who forged one learns nothing of its age", async () => {
  const clock = new FakeClock();
  const verify = verifier({ now: clock.now });
  const token = await sign({ exp: NOW + 60 });
  assert.equal(await connect(token, verify), "valid");
  clock.advance(60);
  assert.equal(await connect(token, verify), "expired: the token has expired");
  const forged = await sign({ exp: NOW - 60 }, SECRET_BYTES.toReversed());
  assert.equal(await connect(forged, verify), "invalid: the token is signed with none of the keys");
});

Deno.test("verifyConnectionToken() reads every claim", async () => {
  const result = await verifier().verifyConnectionToken(
    await sign({
      sub: "ann",
      exp: NOW + 60,
      info: { name: "Ann" },
      meta: { role: 1 },
      channels: ["news", "chat/1", "news"],
      subs: { "chat/2": { info: ["x"], data: "hi", override: {} }, news: {} },
      grants: { "chat/*": ["subscribe", "publish"], "user:**": [] },
      unknown: true,
    }),
  );
  assert.deepEqual(result, {
    kind: "valid",
    claims: {
      user: "ann",
      expires: NOW + 60,
      info: '{"name":"Ann"}',
      meta: '{"role":1}',
      channels: ["news", "chat/1", "chat/2"],
      subs: new Map([
        ["chat/2", { info: '["x"]', data: '"hi"' }],
        ["news", { info: undefined, data: undefined }],
      ]),
      grants: [
        { pattern: "chat/*", segments: ["chat", "*"], actions: ["subscribe", "publish"] },
        { pattern: "user:**", segments: ["user:**"], actions: [] },
      ],
    },
  });
});

Deno.test("verifyConnectionToken() takes a token without claims for the anonymous user", async () => {
  const anonymous = {
    user: "",
    expires: 0,
    info: undefined,
    meta: undefined,
    channels: [],
    subs: new Map(),
    grants: [],
  };
  for (const claims of [{}, { sub: "", info: null, meta: null, channels: null, subs: null }]) {
    const token = await signRaw('{"alg":"HS256"}', JSON.stringify(claims));
    assert.deepEqual(await verifier().verifyConnectionToken(token), { kind: "valid", claims: anonymous });
  }
});

const BAD_CONNECTION_CLAIMS: readonly [string, unknown, RegExp][] = [
  ["sub", 7, /"sub" is not a string/],
  ["sub", { id: 7 }, /"sub" is not a string/],
  ["channel", "news", /"channel": it is a subscription token/],
  ["channels", "news", /"channels" is not an array/],
  ["channels", { news: {} }, /"channels" is not an array/],
  ["channels", [7], /"channels" has an item that is not a string/],
  ["channels", ["chat/*"], /"channels" has a bad name\. Channel name "chat\/\*"/],
  ["channels", [""], /"channels" has a bad name/],
  ["channels", ["@ann"], /"channels" has a bad name/],
  ["subs", ["news"], /"subs" is not an object/],
  ["subs", { news: null }, /"subs" has a value that is not an object/],
  ["subs", { news: true }, /"subs" has a value that is not an object/],
  ["subs", { "no?marks": {} }, /"subs" has a bad name/],
  ["grants", ["chat/*"], /"grants" is not an object/],
  ["grants", { "chat/*": "publish" }, /"grants" has a value that is not an array of subscribe, publish/],
  ["grants", { "chat/*": ["pub"] }, /"grants" has a value that is not an array of subscribe, publish/],
  ["grants", { "a/**/b": [] }, /"grants" has a bad pattern\. Pattern "a\/\*\*\/b"/],
  ["grants", { "@*": ["subscribe"] }, /"grants" has a bad pattern/],
];

for (const [claim, value, reason] of BAD_CONNECTION_CLAIMS) {
  Deno.test(`verifyConnectionToken() calls a "${claim}" of ${JSON.stringify(value)} invalid`, async () => {
    const answer = await connect(await signRaw('{"alg":"HS256"}', JSON.stringify({ [claim]: value })));
    assert.match(answer, /^invalid: the token/);
    assert.match(answer, reason);
  });
}

Deno.test('a channel named "__proto__" is a bad name, and harms nothing', async () => {
  const token = await signRaw(
    '{"alg":"HS256"}',
    '{"__proto__":{"sub":"root"},"subs":{"__proto__":{"data":1}}}',
  );
  assert.match(await connect(token), /^invalid: .*"subs" has a bad name/);
});

Deno.test("a refresh with a token of another user is a mismatch", async () => {
  const token = await sign({ sub: "bob" });
  assert.deepEqual(await verifier().verifyConnectionToken(token, { user: "ann" }), {
    kind: "mismatch",
    reason: 'the token is for user "bob"',
  });
  for (const expected of [{}, { user: "bob" }]) {
    assert.equal((await verifier().verifyConnectionToken(token, expected)).kind, "valid");
  }
  assert.equal((await verifier().verifyConnectionToken(await sign({}), { user: "ann" })).kind, "mismatch");
  assert.equal((await verifier().verifyConnectionToken(token, { user: "" })).kind, "mismatch");
});

Deno.test("verifySubscriptionToken() reads every claim", async () => {
  const token = await sign({ ...SUBSCRIPTION, exp: NOW + 60, info: { a: 1 }, data: [2] });
  assert.deepEqual(await verifier().verifySubscriptionToken(token, EXPECTED), {
    kind: "valid",
    claims: { channel: "news", user: "ann", expires: NOW + 60, info: '{"a":1}', data: "[2]" },
  });
});

const SUBSCRIPTIONS: readonly [Readonly<Record<string, unknown>>, string][] = [
  [{ channel: "news", sub: "ann" }, "valid"],
  [{ channel: "news", sub: "ann", client: "c1" }, "valid"],
  [{ channel: "news", client: "c1" }, "valid"],
  [{ channel: "news", sub: "ann", client: "" }, "valid"],
  [{ channel: "News", sub: "ann" }, 'mismatch: the token is for channel "News"'],
  [{ channel: "news/1", sub: "ann" }, 'mismatch: the token is for channel "news/1"'],
  [{ channel: "*", sub: "ann" }, 'mismatch: the token is for channel "*"'],
  [{ sub: "ann" }, "mismatch: the token names no channel: it is not a subscription token"],
  [
    { sub: "ann", channels: ["news"] },
    "mismatch: the token names no channel: it is not a subscription token",
  ],
  [{ channel: "news", sub: "bob" }, 'mismatch: the token is for user "bob"'],
  [{ channel: "news" }, 'mismatch: the token is for user ""'],
  [{ channel: "news", sub: "ann", client: "c2" }, 'mismatch: the token is for client "c2"'],
  [{ channel: "news", sub: "bob", client: "c1" }, 'mismatch: the token is for user "bob"'],
  [{ channel: ["news"], sub: "ann" }, 'invalid: the token\'s "channel" is not a string'],
  [{ channel: "news", sub: 1 }, 'invalid: the token\'s "sub" is not a string'],
  [{ channel: "news", sub: "ann", client: 1 }, 'invalid: the token\'s "client" is not a string'],
  [{ channel: "n".repeat(99), sub: "ann" }, `mismatch: the token is for channel "${"n".repeat(60)}..."`],
];

for (const [claims, expected] of SUBSCRIPTIONS) {
  Deno.test(`verifySubscriptionToken() finds ${JSON.stringify(claims)} to be ${expected}`, async () => {
    assert.equal(await subscribe(await signRaw('{"alg":"HS256"}', JSON.stringify(claims))), expected);
  });
}

Deno.test("verifySubscriptionToken() takes a token for nobody from an anonymous client, and no other", async () => {
  const anonymous = { ...EXPECTED, user: "" };
  assert.equal(await subscribe(await sign({ channel: "news" }), anonymous), "valid");
  assert.equal(await subscribe(await sign(SUBSCRIPTION), anonymous), 'mismatch: the token is for user "ann"');
});

const AUDIENCES: readonly [Readonly<Record<string, unknown>>, string][] = [
  [{ aud: "rain", iss: "https://id.example" }, "valid"],
  [{ aud: ["sun", "rain"], iss: "https://id.example" }, "valid"],
  [{ iss: "https://id.example" }, 'invalid: the token\'s "aud" is not the expected one'],
  [{ aud: "sun", iss: "https://id.example" }, 'invalid: the token\'s "aud" is not the expected one'],
  [{ aud: "rain" }, 'invalid: the token\'s "iss" is not the expected one'],
  [{ aud: "rain", iss: "https://id.example/" }, 'invalid: the token\'s "iss" is not the expected one'],
  [{ aud: "sun", iss: "https://id.example", exp: 1 }, 'invalid: the token\'s "aud" is not the expected one'],
];

for (const [claims, expected] of AUDIENCES) {
  Deno.test(`a token with ${JSON.stringify(claims)} is ${expected} where rain by id.example is wanted`, async () => {
    const token = await sign(claims);
    assert.equal(
      await connect(token, verifier({ audience: "rain", issuer: "https://id.example" })),
      expected,
    );
    if (claims.exp === undefined) assert.equal(await connect(token), "valid");
  });
}

Deno.test("a token whose key cannot be had is unavailable, unless another key signed it", async () => {
  const down: Keys = {
    warnings: [],
    find: async ({ algorithm }) => ({
      keys: (await KEYS.find({ algorithm, id: undefined })).keys,
      unavailable: "the key set at https://id.example is not available: status 500",
    }),
    [Symbol.dispose]() {},
  };
  const verify = verifier({ keys: down });
  assert.equal(await connect(await sign({}), verify), "valid");
  assert.equal(
    await connect(await sign({}, SECRET_BYTES.toReversed()), verify),
    "unavailable: the key set at https://id.example is not available: status 500",
  );
});

Deno.test("a token of a rotated key set at a URL is valid as soon as the set may be read again", async () => {
  const [first, second] = await Promise.all([
    generateKeyPair("ES256", { extractable: true }),
    generateKeyPair("ES256", { extractable: true }),
  ]);
  let set: unknown = { keys: [{ ...await exportJWK(first.publicKey), kid: "first" }] };
  let requests = 0;
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => {
    requests++;
    return set === undefined ? new Response("", { status: 500 }) : Response.json(set);
  });
  const clock = new FakeClock();
  using keys = openKeys([{ kind: "jwks_url", url: `http://127.0.0.1:${server.addr.port}/` }], {
    now: clock.now,
  });
  const verify = verifier({ keys, now: clock.now });
  const old = await sign({}, first.privateKey, { alg: "ES256", kid: "first" });
  const fresh = await sign({}, second.privateKey, { alg: "ES256", kid: "second" });

  assert.equal(await connect(old, verify), "valid");
  assert.equal(await connect(old, verify), "valid");
  assert.equal(requests, 1);
  set = { keys: [{ ...await exportJWK(second.publicKey), kid: "second" }] };
  assert.match(await connect(fresh, verify), /^unavailable: .*too recently/);
  assert.equal(requests, 1);
  clock.advance(30);
  assert.equal(await connect(fresh, verify), "valid");
  assert.equal(requests, 2);
  set = undefined;
  clock.advance(600);
  assert.equal(await connect(fresh, verify), "valid");
  assert.match(await connect(old, verify), /^unavailable: .*status 500$/);
  assert.equal(requests, 3);
});

Deno.test("no reason shows a key or a signature", async () => {
  const token = await sign({ sub: "ann" });
  const signature = token.split(".")[2] ?? "";
  for (const changed of [token.slice(0, -2), `${token}.x`, token.replace(".", ".A"), `x${token}`]) {
    const answer = await connect(changed);
    assert.match(answer, /^invalid/);
    for (const part of [signature.slice(0, 8), SECRET.slice(0, 8)]) assert.ok(!answer.includes(part), answer);
  }
});
