/** `deno task token` as its users run it: tokens that a real server takes, and explanations that name what is wrong. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { SignJWT } from "jose";
import { startApp } from "../test_app.ts";

const SECRET = "a secret of more than thirty-two bytes";
const ENV = { RAINDROPS_TOKEN_SECRET: SECRET };

interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

async function run(
  args: readonly string[],
  env: Record<string, string> = ENV,
  input?: string,
): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["task", "-q", "token", ...args],
    cwd: new URL("../..", import.meta.url),
    env: { NO_COLOR: "1", ...env },
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  }
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

async function mint(args: readonly string[], env: Record<string, string> = ENV): Promise<string> {
  const { code, output, errors } = await run(args, env);
  assert.deepEqual([code, errors], [0, ""]);
  assert.match(output, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  return output.trim();
}

async function sign(claims: Record<string, unknown>, secret = SECRET): Promise<string> {
  return await new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(
    new TextEncoder().encode(secret),
  );
}

/** The names of the checks that failed. */
function failures({ output }: Outcome): string[] {
  return output.split("\n").filter((line) => line.startsWith("FAIL")).map((line) => line.slice(6, 16).trim());
}

Deno.test("deno task token makes a token that the server takes, with what was granted and no more", async () => {
  const token = await mint(["--sub", "ann", "--grant", "chat/*=subscribe,publish", "--grant", "news=all"]);
  await using server = await startApp(`RAINDROPS_TOKEN_SECRET=${SECRET}`);
  const answers: readonly [method: string, path: string, status: number][] = [
    ["POST", "/chat/1", 200],
    ["POST", "/news", 200],
    ["GET", "/news?since=earliest", 200],
    ["GET", "/news?presence", 200],
    ["GET", "/chat/1?since=earliest", 403],
    ["POST", "/other", 403],
  ];
  for (const [method, path, status] of answers) {
    const response = await fetch(server.url + path, {
      method,
      headers: { authorization: `Bearer ${token}`, accept: "application/json" },
      ...(method === "POST" ? { body: "it rains" } : {}),
    });
    await response.body?.cancel();
    assert.equal(response.status, status, `${method} ${path}`);
  }
  const explained = await run(["explain", "--on", "chat/1"], ENV, `${token}\n`);
  assert.equal(explained.code, 0);
  assert.match(explained.output, /for the user "ann"/);
  assert.match(explained.output, /grants subscribe, publish on chat\/\*/);
  assert.match(explained.output, /^yes +publish$/m);
  assert.match(explained.output, /^no +history: .*"allow": \["history"\]/m);
  assert.match(explained.output, /^The server takes it\.$/m);
  assert.ok(!explained.output.includes(SECRET) && !explained.output.includes(token.split(".")[2]!));
});

Deno.test("deno task token signs with a private key, names it, and binds the token to an audience and an issuer", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (const [type, algorithm] of [["ed25519", "EdDSA"], ["rsa", "RS256"], ["ec", "ES256"]] as const) {
      const { privateKey, publicKey } = type === "ed25519"
        ? generateKeyPairSync(type)
        : type === "rsa"
        ? generateKeyPairSync(type, { modulusLength: 2048 })
        : generateKeyPairSync(type, { namedCurve: "P-256" });
      const [key, publicFile] = [`${folder}/${type}.pem`, `${folder}/${type}.pub`];
      await Deno.writeTextFile(key, String(privateKey.export({ type: "pkcs8", format: "pem" })));
      await Deno.writeTextFile(publicFile, String(publicKey.export({ type: "spki", format: "pem" })));
      const bound = ["--audience", "rain", "--issuer", "me"];
      const token = await mint(["--sub", "ann", "--key", key, "--kid", "k1", ...bound], {});
      const { code, output } = await run(["explain", token, "--token-key", publicFile, ...bound], {});
      assert.equal(code, 0, output);
      assert.match(output, new RegExp(`"alg":"${algorithm}".*"kid":"k1"`));
      if (type !== "ed25519") continue;
      const variables = { RAINDROPS_TOKEN_KEY: publicFile, RAINDROPS_TOKEN_AUDIENCE: "snow" };
      assert.deepEqual(failures(await run(["explain", token], variables)), ["audience"]);
      assert.equal((await run(["explain", token, "--key", key], {})).code, 0);
      const swapped = await run(["--sub", "ann", "--key", publicFile], {});
      assert.deepEqual([swapped.code, swapped.output], [2, ""]);
      assert.match(swapped.errors, /^--key: It is a public key: [^\n]*\n$/);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("deno task token makes a subscription token for one channel", async () => {
  const token = await mint([
    "--sub",
    "ann",
    "--channel",
    "chat/1",
    "--expires",
    "2d",
    "--info",
    '{"role":"host"}',
  ]);
  const { code, output } = await run(["explain", token, "--on", "chat/1"]);
  assert.equal(code, 0);
  assert.match(output, /for the user "ann", to subscribe to "chat\/1"/);
  assert.match(output, /"info":\{"role":"host"\}/);
  assert.match(output, /expires at .*in 2 days|in 48 h/);
  assert.match(output, /^yes +subscribe$/m);
});

Deno.test("deno task token warns, beside the token, of one that never expires and of a secret that is short", async () => {
  const { code, output, errors } = await run(["--sub", "", "--expires", "never"], {
    RAINDROPS_TOKEN_SECRET: "short",
  });
  assert.equal(code, 0);
  assert.equal(output.trim().split(".").length, 3);
  assert.match(errors, /never expires/);
  assert.match(errors, /fewer than 32/);
  assert.ok(!errors.includes("short\n"));
});

const now = Math.floor(Date.now() / 1_000);
const REFUSED: readonly [
  name: string,
  token: () => string | Promise<string>,
  failing: string[],
  reason: RegExp,
][] = [
  [
    "one signed by somebody else",
    () => sign({ sub: "ann" }, "another secret"),
    ["signature"],
    /none of the keys/,
  ],
  ["one that has expired", () => sign({ exp: now - 90 }), ["expiry"], /expired at .*, (9\d|\d{3,}) s ago/],
  ["one that is not good yet", () => sign({ nbf: now + 900 }), ["not before"], /is not yet valid: from 2/],
  [
    "one that grants nonsense",
    () => sign({ grants: { "chat/*": ["shout"] } }),
    ["claims"],
    /"grants" has a value that is not an array/,
  ],
  [
    "one of an unknown algorithm",
    async () => {
      const [, payload = ""] = (await sign({ sub: "ann" })).split(".");
      return `${btoa('{"alg":"none"}').replaceAll("=", "")}.${payload}.`;
    },
    ["signature"],
    /algorithm "none".* no key/,
  ],
  ["what is no token", () => "hello", ["form"], /not a JSON Web Token/],
  [
    "one with everything wrong",
    () => sign({ sub: 7, exp: now - 9 }, "another"),
    ["signature", "expiry", "claims"],
    /"sub" is not a string/,
  ],
];

for (const [name, create, failing, reason] of REFUSED) {
  Deno.test(`deno task token explain refuses ${name}, says which check fails and why, and exits 1`, async () => {
    const outcome = await run(["explain", await create()]);
    assert.equal(outcome.code, 1, outcome.errors);
    assert.deepEqual(failures(outcome), failing);
    assert.match(outcome.output, reason);
    assert.match(outcome.output, /^The server refuses it: /m);
    assert.equal(outcome.errors, "");
  });
}

Deno.test("deno task token explain without a key says so, and lets no token write on the terminal", async () => {
  const token = await sign({ sub: "\u001b[31mann\u009b\u202e" });
  const outcome = await run(["explain", token], {});
  assert.equal(outcome.code, 1);
  assert.deepEqual(failures(outcome), ["signature"]);
  assert.match(outcome.output, /no key to check it with/);
  // deno-lint-ignore no-control-regex -- which is what must not be there
  assert.doesNotMatch(outcome.output, /[\u001b\u009b\u202e]/);
});

const MISTAKES: readonly [args: string[], message: RegExp, env?: Record<string, string>][] = [
  [[], /--sub USER/],
  [["--sub", "ann"], /nothing to sign with: set RAINDROPS_TOKEN_SECRET/, {}],
  [["--sub", "ann", "--expires", "soon"], /--expires: "soon" is no lifetime: write 90s/],
  [["--sub", "ann", "--grant", "chat/*=pub"], /--grant: "chat\/\*=pub" is no grant: write PATTERN=LIST/],
  [["--sub", "ann", "--grant", "@x=publish"], /Pattern "@x" is the server's own/],
  [["--sub", "ann", "--channel", "a", "--grant", "b=publish"], /leave out channels and grants/],
  [["--sub", "ann", "--info", "{"], /--info "\{" is not JSON/],
  [["--sub", "ann", "--key", "/does/not/exist"], /There is no file \/does\/not\/exist, which --key names/],
  [["--sub", "ann", "--on", "a"], /--on is for explaining/],
  [["--subb", "ann"], /--subb.*--help/],
  [["eyJhbGciOi"], /only command is "explain"/],
  [["explain", "a.b.c", "--sub", "ann"], /--sub is for making/],
];

for (const [args, message, env] of MISTAKES) {
  Deno.test(`deno task token ${args.join(" ")} is one clear line and exit status 2`, async () => {
    const { code, output, errors } = await run(args, env);
    assert.deepEqual([code, output], [2, ""]);
    assert.match(errors, message);
    assert.match(errors, /^[^\n]+\n$/);
    assert.ok(!errors.includes("eyJ"));
  });
}

Deno.test("deno task token --help says how", async () => {
  const { code, output } = await run(["--help"], {});
  assert.equal(code, 0);
  assert.match(output, /--grant PATTERN=LIST/);
});
