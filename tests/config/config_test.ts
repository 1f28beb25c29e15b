/** Flags and environment: defaults, precedence, and one clear line for everything that is wrong. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { isDeepStrictEqual } from "node:util";
import { type Setting, toFlag, toVariable } from "../../lib/base/setting.ts";
import {
  completeConfig,
  type Config,
  ENVIRONMENT_VARIABLES,
  formatHelp,
  parseConfig,
} from "../../lib/config/config.ts";
import { OPTIONS } from "../../lib/config/options.ts";
import { VERSION } from "../../lib/config/version.ts";

function parse(args: string[], environment: Record<string, string> = {}): Config {
  const config = parseConfig(args, environment);
  if (typeof config === "string") throw new TypeError(`--${config} makes no configuration`);
  return config;
}

Deno.test("parseConfig() says how a value that begins with a dash is written", () => {
  for (const args of [["--workers", "-1"], ["--workers", "--open"]]) {
    assert.throws(
      () => parseConfig(args, {}),
      /^SyntaxError: No value follows --workers, .*--workers=VALUE$/,
    );
  }
});

Deno.test("parseConfig() has development defaults", () => {
  const { port, host, engine, origins, maxBodyBytes, maxMessageBytes } = parse([]);
  assert.deepEqual({ port, host, engine, origins, maxBodyBytes, maxMessageBytes }, {
    port: 8000,
    host: "127.0.0.1",
    engine: "sqlite:./data/raindrops.db",
    origins: [],
    maxBodyBytes: 1_048_576,
    maxMessageBytes: 65_536,
  });
});

Deno.test("parseConfig() takes each setting as flag or variable, and the flag outranks", () => {
  assert.equal(parse(["--port", "1"]).port, 1);
  assert.equal(parse(["--port=2"]).port, 2);
  assert.equal(parse([], { PORT: "3" }).port, 3);
  assert.equal(parse(["--port", "4"], { PORT: "5" }).port, 4);
  assert.deepEqual(parse([], { RAINDROPS_ORIGINS: "https://a.example, http://b.example:81" }).origins, [
    "https://a.example",
    "http://b.example:81",
  ]);
});

const REFUSED: readonly [string[], Record<string, string>, RegExp][] = [
  [["--prot", "1"], {}, /--prot.*--help/],
  [["extra"], {}, /extra.*--help/],
  [["--port"], {}, /--port.*--help/],
  [["--port", "70000"], {}, /"70000" for --port: give a whole number from 0 to 65535/],
  [["--port", "-1"], {}, /--port/],
  [["--port", ""], {}, /"" for --port/],
  [[], { PORT: "eighty" }, /"eighty" for PORT/],
  [[], { RAINDROPS_ENGIN: "memory:" }, /^Unknown variable RAINDROPS_ENGIN: set RAINDROPS_ENGINE instead/],
  [[], { RAINDROPS_PORT: "1" }, /^Unknown variable RAINDROPS_PORT: set PORT instead/],
  [[], { RAINDROPS_KEYS: "k" }, /RAINDROPS_KEYS: set RAINDROPS_KEY or RAINDROPS_API_KEYS instead/],
  [[], { RAINDROPS_UMBRELLA: "1" }, /^Unknown variable RAINDROPS_UMBRELLA: --help lists them all$/],
  [["--idle-timeout", "30s"], {}, /give a whole number from 1 to 3600, in seconds, such as 30$/],
  [["--mqtt-max-keep-alive", "1m"], {}, /give a whole number from 0 to 65535, in seconds, such as 60$/],
  [[], { RAINDROPS_MAX_BODY_BYTES: "1MB" }, /from 1 to 1073741824, in bytes, such as 1048576$/],
  [["--host", " "], {}, /--host: it must not be empty/],
  [["--engine", "postgres:x"], {}, /"postgres:x" for --engine/],
  [["--origins", "example.org"], {}, /not an origin: write it like https:/],
  [["--origins", "https://example.org/"], {}, /not an origin/],
  [["--log-level", "loud"], {}, /use debug or info or warn or error/],
  [["--max-message-bytes", "0"], {}, /from 1 to/],
  [["--open=yes"], {}, /--open.*--help/],
  [[], { RAINDROPS_OPEN: "maybe" }, /"maybe" for RAINDROPS_OPEN: use true or false/],
  [
    ["--host", "0.0.0.0"],
    {},
    /^Listening on 0\.0\.0\.0, beyond this machine, takes a key: set .* with --open$/,
  ],
  [["--host", "::"], { RAINDROPS_API_KEYS: "", RAINDROPS_TOKEN_SECRET: "" }, /^Listening on ::, .* --open$/],
  [["--host", "example.org"], { RAINDROPS_OPEN: "false" }, /takes a key/],
  [["--trusted-proxy", "127.0.0.1"], {}, /^Serving a proxy, .* takes a key/],
  [["--trusted-proxy", "10.0.0.0/33"], {}, /is not a network/],
  [["--proxy-header", "via"], {}, /use x-forwarded-for or forwarded/],
  [["--max-connections=-1"], {}, /from 0 to/],
  [["--max-publish-rate", "0.5"], {}, /from 0 to/],
  [["--max-channel-length", "256"], {}, /from 1 to 255/],
  [["--log", "memory:"], {}, /^--log is called --engine now: write --engine instead$/],
  [["--log=memory:"], {}, /^--log is called --engine now/],
  [["--log"], {}, /^--log is called --engine now/],
  [[], { RAINDROPS_LOG: "memory:" }, /^RAINDROPS_LOG is called RAINDROPS_ENGINE now: set RAINDROPS_ENGINE/],
  [["--cert", "a.pem"], {}, /^A certificate needs its private key/],
];

for (const [args, environment, message] of REFUSED) {
  Deno.test(`parseConfig() refuses ${JSON.stringify([args, environment])} in one line that says what to do`, () => {
    assert.throws(() => parseConfig(args, environment), (error: unknown) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, message);
      assert.ok(!error.message.includes("\n"), error.message);
      return true;
    });
  });
}

Deno.test("parseConfig() says the unit and an example of every setting that counts seconds or bytes", () => {
  const settings: [string, Setting<unknown>][] = Object.entries(OPTIONS);
  const counting = settings.filter(([key, { help, value }]) =>
    value === "SECONDS" || /bytes/i.test(key) || (value === "N" && /^(time|pause|silence|bytes) /.test(help))
  );
  assert.ok(counting.length > 15);
  for (const [key, setting] of counting) {
    const flag = `--${toFlag(key, setting)}`;
    assert.throws(() => parseConfig([flag, "30s"], {}), (error: Error) => {
      const [, example] = /, in (?:seconds|bytes), such as (\d+)$/.exec(error.message) ?? [];
      return example !== undefined && typeof setting.parse(example) === "number";
    }, flag);
  }
});

Deno.test("parseConfig() lets a server beyond loopback start with any key, or with --open", () => {
  const world = ["--host", "0.0.0.0"];
  assert.equal(parse([...world, "--open"]).open, true);
  assert.equal(parse(world, { RAINDROPS_OPEN: "1" }).open, true);
  for (const variable of ["TOKEN_SECRET", "TOKEN_KEY", "TOKEN_JWKS", "API_KEYS"]) {
    assert.equal(parse(world, { [`RAINDROPS_${variable}`]: "x" }).open, false);
  }
  for (const host of ["localhost", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]) {
    assert.equal(parse(["--host", host]).host, host);
  }
});

Deno.test("parseConfig() spares this machine from default limits alone, and takes 0 for none", () => {
  assert.deepEqual(parse([]).maxPublishRate, { value: 100, sparesLoopback: true });
  assert.deepEqual(parse(["--max-publish-rate", "100"]).maxPublishRate, {
    value: 100,
    sparesLoopback: false,
  });
  assert.equal(parse(["--max-connections-per-address", "0"]).maxConnectionsPerAddress.value, Infinity);
  assert.equal(parse(["--max-channels", "0"]).maxChannels, Infinity);
});

Deno.test("parseConfig() takes secrets from the environment alone and never repeats them", () => {
  assert.equal(parse([], { RAINDROPS_TOKEN_SECRET: "s3cret" }).tokenSecret, "s3cret");
  const { apiKeys } = parse([], { RAINDROPS_API_KEYS: "one,two" });
  assert.equal(apiKeys.length, 2);
  assert.ok(!Deno.inspect(apiKeys).includes("one"), "Keys are hashed as soon as they are read");
  assert.throws(() => parseConfig(["--token-secret", "s3cret"], {}), /--token-secret/);
  for (const keys of ["s3cret,", "s3cret,s3 cret", "\u0000s3cret"]) {
    assert.throws(() => parseConfig([], { RAINDROPS_API_KEYS: keys }), (error: unknown) => {
      return error instanceof SyntaxError && /RAINDROPS_API_KEYS/.test(error.message) &&
        !/s3/.test(error.message);
    });
  }
});

Deno.test("parseConfig() repeats no password that stands in the URL of an engine", () => {
  for (const url of ["nats://user:s3cret@one", "tls://s3cret@one:1/", "nats://a:s3@cret@one"]) {
    assert.throws(() => parseConfig(["--engine", url], {}), (error: unknown) => {
      return error instanceof SyntaxError && /RAINDROPS_NATS_/.test(error.message) &&
        !/s3/.test(error.message);
    });
  }
});

Deno.test("parseConfig() either parses or throws a SyntaxError, whatever the arguments", () => {
  const argument = fc.oneof(
    fc.string(),
    fc.constantFrom("--port", "--host", "--engine", "--origins=", "--", "-h"),
  );
  fc.assert(fc.property(fc.array(argument), (args) => {
    try {
      parseConfig(args, {});
    } catch (error) {
      assert.ok(error instanceof SyntaxError, String(error));
    }
  }));
});

Deno.test("Each flag and variable is named after its setting, and secrets have no flag", () => {
  const names = Object.entries(OPTIONS).map((
    [key, setting],
  ) => [toFlag(key, setting), toVariable(key, setting)]);
  const known = [
    ["port", "PORT"],
    ["host", "HOST"],
    ["max-publish-rate-per-address", "RAINDROPS_MAX_PUBLISH_RATE_PER_ADDRESS"],
    ["engine", "RAINDROPS_ENGINE"],
    [undefined, "RAINDROPS_TOKEN_SECRET"],
    [undefined, "RAINDROPS_NATS_PASSWORD"],
    [undefined, "RAINDROPS_API_KEYS"],
    ["pong-timeout", "RAINDROPS_PONG_TIMEOUT"],
  ];
  for (const pair of known) assert.ok(names.some((name) => isDeepStrictEqual(name, pair)), `${pair}`);
  const variables = names.map(([, variable]) => variable);
  assert.deepEqual(variables, [...new Set(variables)], "no two settings share a variable");
  const flags = names.flatMap(([flag]) => flag ?? []);
  assert.deepEqual(flags, [...new Set(flags)], "no two settings share a flag");
});

Deno.test("completeConfig() fills what is left out, and refuses what parseConfig() refuses", () => {
  assert.deepEqual(completeConfig({}), parse([]));
  assert.deepEqual(completeConfig({ engine: "memory:" }), parse(["--engine", "memory:"]));
  assert.throws(() => completeConfig({ host: "0.0.0.0" }), /takes a key/);
});

Deno.test("parseConfig() answers --version", () => {
  assert.equal(parseConfig(["--version"], {}), "version");
  assert.match(VERSION, /^\d+\.\d+\.\d+$/);
});

Deno.test("formatHelp() lists every variable, says log of nothing but stderr, and --help asks for it", () => {
  assert.equal(parseConfig(["--help"], {}), "help");
  for (const line of formatHelp().split("\n")) {
    assert.ok(!/\blog\b/i.test(line) || /--log-(format|level)/.test(line), line);
  }
  for (const variable of ENVIRONMENT_VARIABLES) assert.ok(formatHelp().includes(` ${variable} `), variable);
});

Deno.test("Every setting that is on by default can be switched off by its flag", () => {
  const settings: [string, Setting<unknown>][] = Object.entries(OPTIONS);
  const stuck = settings.filter(([, { value, fallback, secret }]) =>
    value === undefined && fallback === "true" && secret !== true
  );
  assert.deepEqual(stuck.map(([key]) => key), []);
  assert.equal(parse(["--mqtt-assign-ids", "false"]).mqttAssignIds, false);
  assert.equal(parse([]).mqttAssignIds, true);
});
