/** The inspector's desk for tokens: for operators alone, and without ever giving the secret away. */
import assert from "node:assert/strict";
import { startApp, type TestApp } from "../test_app.ts";

const KEY = "a-key-of-sixteen-characters";
const SECRET = "a secret of more than thirty-two bytes";
const SETTINGS = [`RAINDROPS_API_KEYS=${KEY}`, `RAINDROPS_TOKEN_SECRET=${SECRET}`];

async function ask(
  server: TestApp,
  name: string,
  fields?: unknown,
  headers: HeadersInit = { "x-api-key": KEY },
) {
  const init = fields === undefined ? {} : {
    method: "POST",
    body: typeof fields === "string" ? fields : JSON.stringify(fields),
  };
  const response = await fetch(`${server.url}/_inspect/${name}`, { ...init, headers });
  const text = await response.text();
  assert(!text.includes(SECRET), "the secret stays on the server");
  return { status: response.status, body: JSON.parse(text) };
}

Deno.test("Token made in the inspector lets in whom it names, and is explained", async () => {
  await using server = await startApp(...SETTINGS);
  const fields = { user: "ann", expires: "1h", grants: "room/*=subscribe,publish\n\nnews=all" };
  const { status, body: { token } } = await ask(server, "token", fields);
  assert.equal(status, 200);
  const publish = (path: string) =>
    fetch(`${server.url}/${path}`, {
      method: "POST",
      body: "hi",
      headers: { authorization: `Bearer ${token}` },
    }).then(async (response) => (await response.body?.cancel(), response.status));
  assert.equal(await publish("room/1"), 200);
  assert.equal(await publish("elsewhere"), 403);

  const { body } = await ask(server, "explain", { token, channel: "room/1" });
  assert.deepEqual(body.verdict, { accepted: true, reason: "" });
  assert.equal(body.payload.sub, "ann");
  assert.match(body.purpose.join(" "), /the user "ann".*subscribe, publish on room\/\*/);
  assert.deepEqual(
    // deno-lint-ignore no-explicit-any -- as it comes
    body.decisions.filter(({ allowed }: any) => allowed).map(({ action }: any) => action),
    ["subscribe", "publish"],
  );
  const changed = await ask(server, "explain", { token: `${token.slice(0, -4)}AAAA` });
  assert.equal(changed.body.verdict.accepted, false);
  assert.match(JSON.stringify(changed.body.checks), /none of this server's keys signed it/);
});

Deno.test("Token of one channel is a subscription token", async () => {
  await using server = await startApp(...SETTINGS);
  const { body: { token } } = await ask(server, "token", { user: "ann", channel: "room", expires: "never" });
  const { body } = await ask(server, "explain", { token });
  assert.match(body.purpose.join(" "), /to subscribe to "room"/);
  assert.match(JSON.stringify(body.checks), /it never expires/);
});

Deno.test("What cannot be a token is refused with what to write instead", async () => {
  await using server = await startApp(...SETTINGS);
  for (
    const [fields, detail] of [
      [{ expires: "soon" }, /"soon" is no lifetime: write 90s/],
      [{ expires: "0s" }, /no lifetime/],
      [{ grants: "room=dance" }, /"room=dance" is no grant: write PATTERN=LIST/],
      [{ grants: "@x=publish" }, /server's own/],
      [{ channel: "a", grants: "b=publish" }, /leave out channels and grants/],
      [{ channel: "_x" }, /_x/],
      [{ info: "{" }, /info is not JSON/],
      [{ user: 1 }, /user must be a text/],
      [{ user: "a".repeat(256) }, /longer than 255/],
      ["[1]", /must be a JSON object/],
      ["eyJ0b2tlbg", /must be a JSON object/],
    ] as const
  ) {
    const { status, body } = await ask(server, "token", fields);
    assert.equal(status, 400, JSON.stringify(fields));
    assert.match(body.detail, detail);
    assert.doesNotMatch(body.detail, /eyJ0b2tlbg/);
  }
});

Deno.test("Nobody but an operator makes or explains a token, whatever else they bring", async () => {
  await using server = await startApp(...SETTINGS);
  const { body: { token } } = await ask(server, "token", { user: "ann", grants: "**=all" });
  for (const name of ["token", "explain"]) {
    const strangers = [{}, { authorization: `Bearer ${token}` }, { "x-api-key": SECRET }] as HeadersInit[];
    for (const headers of strangers) assert.equal((await ask(server, name, {}, headers)).status, 401);
  }
  assert.equal((await ask(server, "tokens", undefined, {})).status, 401);
});

Deno.test("Server without a secret of its own says where tokens come from", async () => {
  await using open = await startApp();
  assert.deepEqual((await ask(open, "tokens", undefined, {})).body, { checks: false, makes: false });
  const { status, body } = await ask(open, "token", { user: "ann" }, {});
  assert.equal(status, 404);
  assert.match(body.detail, /set RAINDROPS_TOKEN_SECRET/);
});
