/**
 * Nobody hands a secret to the logger, or to the inspector's list of refusals: every way in is tried with credentials
 * that are refused, and what was said about it is searched for them, before anything is redacted.
 */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { startApp } from "../test_app.ts";

const SECRET = "a secret of more than thirty-two bytes";
const KEY = "the-one-and-only-api-key";

/** What no line may hold: the credentials themselves, and pieces of them that an error might quote. */
async function createCredentials() {
  const sign = (secret: string, expires: number) =>
    new SignJWT({ sub: "ann", channels: ["news"] }).setProtectedHeader({ alg: "HS256" }).setExpirationTime(
      expires,
    )
      .sign(new TextEncoder().encode(secret));
  const now = Math.floor(Date.now() / 1_000);
  return {
    forged: await sign("another secret of more than thirty-two bytes", now + 60),
    expired: await sign(SECRET, now - 60),
    garbage: "eyJnot.a.token-at-all",
    key: "a-key-nobody-knows-here",
  };
}

Deno.test("No way in leaves a credential in the log or among the refusals", async () => {
  await using server = await startApp(`RAINDROPS_TOKEN_SECRET=${SECRET}`, `RAINDROPS_API_KEYS=${KEY}`);
  const { key, ...tokens } = await createCredentials();
  const ask = async (path: string, init: RequestInit = {}) => {
    const reader = (await fetch(server.url + path, init)).body?.getReader();
    // Some answers are streams, which stay open a while.
    await reader?.read();
    await reader?.cancel();
  };
  for (const credential of [...Object.values(tokens), key]) {
    const authorization = `Bearer ${credential}`;
    const connect = JSON.stringify({ id: 1, connect: { token: credential } });
    await ask("/news", { headers: { authorization, accept: "application/json" } });
    await ask("/news", { method: "POST", body: "x", headers: { authorization } });
    await ask(`/news?token=${credential}`, { headers: { accept: "application/json" } });
    await ask(`/news?since=earliest&token=${credential}`, { method: "POST", body: "x" });
    for (const path of ["/metrics", "/_inspect/stream", "/api/info", "/api/backup"]) {
      await ask(path, { headers: { authorization } });
    }
    for (const headers of [{ "x-api-key": credential }, { authorization: `apikey ${credential}` }]) {
      await ask("/api/publish", { method: "POST", body: "{}", headers });
      await ask("/metrics", { headers });
    }
    await ask("/connection/http_stream", { method: "POST", body: connect });
    await ask("/connection/http_stream", { method: "POST", body: connect.slice(0, -1) });
    await ask("/connection/uni_http_stream", { method: "POST", body: JSON.stringify({ token: credential }) });
    await ask(`/connection/uni_sse?cf_connect=${encodeURIComponent(JSON.stringify({ token: credential }))}`);
    await ask(`/connection/sse?cf_connect=${encodeURIComponent(connect.slice(0, -1))}`);
    await ask("/emulation", {
      method: "POST",
      body: JSON.stringify({ session: credential, node: "x", data: "" }),
    });
  }
  const said = [
    ...server.logger.entries.map((entry) => JSON.stringify(entry)),
    ...server.app.metrics.listRefusals().map((refusal) => JSON.stringify(refusal)),
  ];
  assert.ok(said.length > 50, "they were all refused");
  for (const line of said) {
    for (const secret of [SECRET, KEY, key, ...Object.values(tokens).flatMap((token) => token.split("."))]) {
      if (secret.length > 4) assert.ok(!line.includes(secret), `${secret} in ${line}`);
    }
  }
});
