/** Verification keys: what is accepted as one, what never is, and key sets that rotate, fail and hang at a real URL. */
import assert from "node:assert/strict";
import { exportJWK, exportPKCS8, exportSPKI, generateKeyPair, type JWK } from "jose";
import { type Keys, openKeys } from "../../lib/auth/keys.ts";
import { FakeClock } from "../fakes/clock.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const RSA = await generateKeyPair("RS256", { extractable: true });
const RSA_PEM = await exportSPKI(RSA.publicKey);

/** A public key for a key set. */
async function createJwk(algorithm: string, id?: string): Promise<JWK> {
  const { publicKey } = await generateKeyPair(algorithm, { extractable: true });
  return { ...await exportJWK(publicKey), ...(id === undefined ? {} : { kid: id }) };
}

/** How many keys may have signed a token with this header, or "unavailable". */
async function count(keys: Keys, algorithm: string, id?: string): Promise<number | "unavailable"> {
  const found = await keys.find({ algorithm, id });
  return found.unavailable === undefined ? found.keys.length : "unavailable";
}

/** A server that answers every request with what `answer` gives at the time, and counts requests. */
function serveKeySet(
  answer: () => Response | Promise<Response>,
): AsyncDisposable & { url: string; requests: number } {
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => {
    served.requests++;
    return answer();
  });
  const served = {
    url: `http://127.0.0.1:${server.addr.port}/keys?token=hush`,
    requests: 0,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return served;
}

const ALGORITHMS: readonly [string, readonly string[]][] = [
  ["RS256", ["RS256", "RS384", "RS512"]],
  ["ES256", ["ES256"]],
  ["ES384", ["ES384"]],
  ["ES512", ["ES512"]],
  ["EdDSA", ["EdDSA", "Ed25519"]],
];
const EVERY_ALGORITHM = [
  "HS256",
  "HS384",
  "HS512",
  "none",
  "PS256",
  ...ALGORITHMS.flatMap(([, names]) => names),
];

async function listAlgorithms(keys: Keys): Promise<readonly string[]> {
  const answers = await Promise.all(EVERY_ALGORITHM.map((algorithm) => count(keys, algorithm)));
  return EVERY_ALGORITHM.filter((_, i) => answers[i] === 1);
}

for (const [algorithm, expected] of ALGORITHMS) {
  Deno.test(`openKeys() takes a key for ${algorithm} in PEM and JWKS for ${expected.join(", ")} only`, async () => {
    const { publicKey } = await generateKeyPair(algorithm, { extractable: true });
    using pem = openKeys([{ kind: "pem", text: await exportSPKI(publicKey) }]);
    using set = openKeys([{ kind: "jwks", text: JSON.stringify({ keys: [await exportJWK(publicKey)] }) }]);
    assert.deepEqual(await listAlgorithms(pem), expected);
    assert.deepEqual(await listAlgorithms(set), expected);
  });
}

Deno.test("openKeys() takes a secret for HMAC only", async () => {
  using keys = openKeys([{ kind: "secret", secret: SECRET }]);
  assert.deepEqual(await listAlgorithms(keys), ["HS256", "HS384", "HS512"]);
  assert.deepEqual(keys.warnings, []);
});

Deno.test("openKeys() offers all keys that fit, so that keys can be rotated", async () => {
  const other = await generateKeyPair("RS256", { extractable: true });
  using keys = openKeys([
    { kind: "pem", text: RSA_PEM },
    { kind: "pem", text: await exportSPKI(other.publicKey) },
    { kind: "secret", secret: SECRET },
  ]);
  assert.equal(await count(keys, "RS256"), 2);
  assert.equal(await count(keys, "RS256", "any id, as PEM has none"), 2);
  assert.equal(await count(keys, "HS256"), 1);
});

Deno.test("openKeys() picks from a key set by id, use, operations and algorithm", async () => {
  const [a, b, rest] = await Promise.all([
    createJwk("ES256", "a"),
    createJwk("ES256", "b"),
    createJwk("ES256", "rest"),
  ]);
  using keys = openKeys([{
    kind: "jwks",
    text: JSON.stringify({
      keys: [
        a,
        { ...b, use: "sig", key_ops: ["verify"], alg: "ES256" },
        { ...rest, use: "enc" },
        { ...rest, key_ops: ["sign"] },
        { ...rest, alg: "ES384" },
        { ...rest, kid: 7 },
        { ...rest, x: "AAAA" },
        { kty: "oct", k: "c2VjcmV0" },
        null,
      ],
    }),
  }]);
  assert.equal(await count(keys, "ES256"), 2);
  assert.equal(await count(keys, "ES256", "a"), 1);
  assert.equal(await count(keys, "ES256", "b"), 1);
  assert.equal(await count(keys, "ES256", "rest"), 0);
  assert.equal(await count(keys, "HS256"), 0);
});

Deno.test("openKeys() hands out no private part of a key", async () => {
  using keys = openKeys([{
    kind: "jwks",
    text: JSON.stringify({ keys: [await exportJWK(RSA.privateKey)] }),
  }]);
  const { keys: [key] } = await keys.find({ algorithm: "RS256", id: undefined });
  assert.deepEqual(Object.keys(key ?? {}).sort(), ["e", "kty", "n"]);
});

Deno.test("openKeys() refuses what is no key, and quotes none of it", async () => {
  const hush = "aHVzaGh1c2g";
  const rsa = await exportJWK(RSA.publicKey);
  const privatePem = await exportPKCS8(RSA.privateKey);
  const weak = await crypto.subtle.generateKey(
    {
      name: "RSASSA-PKCS1-v1_5",
      hash: "SHA-256",
      modulusLength: 1024,
      publicExponent: new Uint8Array([1, 0, 1]),
    },
    true,
    ["sign", "verify"],
  );
  const cases: readonly [Parameters<typeof openKeys>[0][number], RegExp][] = [
    [{ kind: "secret", secret: "" }, /must not be empty/],
    [{ kind: "secret", secret: RSA_PEM }, /configure it as a public key/],
    [{ kind: "secret", secret: ` {"keys": ["${hush}"]}` }, /configure it as a public key/],
    [{ kind: "pem", text: hush }, /not a public key in PEM form/],
    [
      { kind: "pem", text: `-----BEGIN PUBLIC KEY-----\n${hush}\n-----END PUBLIC KEY-----` },
      /not a public key/,
    ],
    [{ kind: "pem", text: privatePem }, /private key/],
    [{ kind: "pem", text: await exportSPKI(weak.publicKey) }, /2048 bits/],
    [{ kind: "jwks", text: hush }, /not JSON/],
    [{ kind: "jwks", text: `["${hush}"]` }, /"keys" array/],
    [{ kind: "jwks", text: `{"keys": [{"kty": "oct", "k": "${hush}"}]}` }, /no public key/],
    [{ kind: "jwks", text: JSON.stringify({ keys: [{ ...rsa, alg: "PS256" }] }) }, /no public key/],
    [{ kind: "jwks", text: JSON.stringify({ keys: Array(101).fill({}) }) }, /more than 100 keys/],
    [{ kind: "jwks_url", url: `file:///${hush}` }, /https:/],
    [{ kind: "jwks_url", url: hush }, /https:/],
    [{ kind: "jwks_url", url: `https://user:${hush}@id.example/keys` }, /user name or password/],
  ];
  for (const [source, message] of cases) {
    assert.throws(() => openKeys([source]), (error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, message);
      assert.ok(!Deno.inspect(error, { depth: 9 }).split("\n    at ")[0]?.includes(hush), error.message);
      assert.equal(error.cause, undefined);
      return true;
    });
  }
});

Deno.test("openKeys() warns of a short secret and of a key set without TLS, and shows neither", () => {
  using weak = openKeys([{ kind: "secret", secret: "hush" }]);
  assert.match(weak.warnings.join(), /fewer than 32 bytes/);
  assert.doesNotMatch(weak.warnings.join(), /hush/);
  using plain = openKeys([{ kind: "jwks_url", url: "http://id.example/keys?hush" }]);
  assert.match(plain.warnings.join(), /http:\/\/id\.example is read without TLS/);
  assert.doesNotMatch(plain.warnings.join(), /hush/);
  using secure = openKeys([{ kind: "jwks_url", url: "https://id.example/keys" }]);
  assert.deepEqual(secure.warnings, []);
});

Deno.test("a key set is fetched when first needed, once for callers at the same time, and kept", async () => {
  const set = { keys: [await createJwk("ES256", "a")] };
  await using server = serveKeySet(() => Response.json(set));
  const clock = new FakeClock();
  using keys = openKeys([{ kind: "jwks_url", url: server.url }], { now: clock.now });
  assert.equal(await count(keys, "HS256"), 0);
  assert.equal(await count(keys, "none"), 0);
  assert.equal(server.requests, 0);
  assert.deepEqual(
    await Promise.all([count(keys, "ES256", "a"), count(keys, "ES256"), count(keys, "ES256", "a")]),
    [1, 1, 1],
  );
  clock.advance(599);
  assert.equal(await count(keys, "ES256", "a"), 1);
  assert.equal(server.requests, 1);
});

Deno.test("a key set that rotates gives the new key to who asks for it, and asks no oftener than it may", async () => {
  const set = { keys: [await createJwk("ES256", "old")] };
  await using server = serveKeySet(() => Response.json(set));
  const clock = new FakeClock();
  using keys = openKeys([{ kind: "jwks_url", url: server.url }], { now: clock.now, cooldown: 30 });
  assert.equal(await count(keys, "ES256", "old"), 1);
  set.keys = [await createJwk("ES256", "new")];
  assert.equal(await count(keys, "ES256", "new"), "unavailable");
  assert.equal(server.requests, 1);
  clock.advance(30);
  assert.equal(await count(keys, "ES256", "new"), 1);
  assert.equal(await count(keys, "ES256", "old"), "unavailable");
  assert.equal(server.requests, 2);
  clock.advance(30);
  assert.equal(await count(keys, "ES256", "old"), 0);
  assert.equal(server.requests, 3);
});

Deno.test("a key its issuer withdrew is gone when the key set grows old", async () => {
  const [kept, withdrawn] = await Promise.all([createJwk("ES256", "kept"), createJwk("ES256", "withdrawn")]);
  const set = { keys: [kept, withdrawn] };
  await using server = serveKeySet(() => Response.json(set));
  const clock = new FakeClock();
  using keys = openKeys([{ kind: "jwks_url", url: server.url }], { now: clock.now });
  assert.equal(await count(keys, "ES256", "withdrawn"), 1);
  set.keys = [kept];
  clock.advance(600);
  assert.equal(await count(keys, "ES256", "withdrawn"), 0);
  assert.equal(server.requests, 2);
});

Deno.test("a key set that fails is unavailable, is left alone for a while, then serves again", async () => {
  const set = { keys: [await createJwk("ES256", "a")] };
  await using server = serveKeySet(() =>
    server.requests === 1 ? new Response("hush", { status: 500 }) : Response.json(set)
  );
  const clock = new FakeClock();
  using keys = openKeys([{ kind: "jwks_url", url: server.url }], { now: clock.now, cooldown: 30 });
  const { unavailable } = await keys.find({ algorithm: "ES256", id: "a" });
  assert.match(
    unavailable ?? "",
    /^the key set at http:\/\/127\.0\.0\.1:\d+ is not available: .*status 500$/,
  );
  clock.advance(29);
  assert.equal(await count(keys, "ES256", "a"), "unavailable");
  assert.equal(server.requests, 1);
  clock.advance(1);
  assert.equal(await count(keys, "ES256", "a"), 1);
  assert.equal(server.requests, 2);
  clock.advance(30);
  assert.equal(await count(keys, "ES256", "b"), 0);
});

Deno.test("known keys serve a day while their key set fails, and an unknown one is not called invalid", async () => {
  const set = { keys: [await createJwk("ES256", "a")] };
  let fails = false;
  await using server = serveKeySet(() => fails ? new Response("", { status: 503 }) : Response.json(set));
  const clock = new FakeClock();
  using keys = openKeys([{ kind: "jwks_url", url: server.url }], { now: clock.now });
  assert.equal(await count(keys, "ES256", "a"), 1);
  fails = true;
  clock.advance(600);
  assert.equal(await count(keys, "ES256", "a"), 1);
  assert.equal(await count(keys, "ES256", "b"), "unavailable");
  assert.equal(server.requests, 2);
  clock.advance(24 * 60 * 60 - 600);
  assert.equal(await count(keys, "ES256", "a"), "unavailable");
});

const BAD_ANSWERS: readonly [string, () => Response, RegExp][] = [
  ["something else than JSON", () => new Response("<p>hush"), /not JSON/],
  ["something else than a key set", () => Response.json({ hush: [] }), /"keys" array/],
  ["no key that fits", () => Response.json({ keys: [{ kty: "oct", k: "hush" }] }), /no public key/],
  ["more than a megabyte", () => new Response("[" + " ".repeat(1024 * 1024)), /more than 1048576 bytes/],
  ["a redirect", () => new Response("", { status: 302, headers: { location: "/hush" } }), /is not available/],
];

for (const [name, answer, message] of BAD_ANSWERS) {
  Deno.test(`a key set URL that answers ${name} is unavailable, and the reason quotes nothing of it`, async () => {
    await using server = serveKeySet(answer);
    using keys = openKeys([{ kind: "jwks_url", url: server.url }]);
    const { keys: found, unavailable } = await keys.find({ algorithm: "ES256", id: undefined });
    assert.deepEqual(found, []);
    assert.match(unavailable ?? "", message);
    assert.doesNotMatch(unavailable ?? "", /hush/);
    assert.equal(server.requests, 1);
  });
}

Deno.test("a key set URL nobody listens at is unavailable, and the reason shows only its origin", async () => {
  const server = serveKeySet(() => new Response());
  await server[Symbol.asyncDispose]();
  using keys = openKeys([{ kind: "jwks_url", url: server.url.replace("/keys", "/(keys)'") }]);
  const { unavailable } = await keys.find({ algorithm: "RS256", id: "a" });
  assert.match(unavailable ?? "", /^the key set at http:\S+:\d+ is not available: .*\brefused\b/);
  assert.doesNotMatch(unavailable ?? "", /hush|keys/);
});

Deno.test("a key set URL that never answers is given up after the timeout", async () => {
  const held = Promise.withResolvers<Response>();
  await using server = serveKeySet(() => held.promise);
  using keys = openKeys([{ kind: "jwks_url", url: server.url }], { timeout: 0.05 });
  const { unavailable } = await keys.find({ algorithm: "RS256", id: "a" });
  assert.match(unavailable ?? "", /no answer within 0\.05 s/);
  held.resolve(new Response());
});

Deno.test("disposing keys ends what is being fetched", async () => {
  const held = Promise.withResolvers<Response>();
  const asked = Promise.withResolvers<void>();
  await using server = serveKeySet(() => {
    asked.resolve();
    return held.promise;
  });
  const keys = openKeys([{ kind: "jwks_url", url: server.url }]);
  const answer = keys.find({ algorithm: "RS256", id: "a" });
  await asked.promise;
  keys[Symbol.dispose]();
  assert.match((await answer).unavailable ?? "", /: the server is stopping$/);
  held.resolve(new Response());
});
