/**
 * Feeds everything that parses text with texts nobody would write: each one is taken, or refused in words that help.
 * Codecs and tokens have such tests beside their own.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseApiKeys } from "../../lib/auth/api_keys.ts";
import { parseOrigin } from "../../lib/auth/origin.ts";
import { ENVIRONMENT_VARIABLES, formatHelp, parseConfig } from "../../lib/config/config.ts";
import {
  matchesSelector,
  parseChannel,
  parseChannelPath,
  parsePattern,
  parseSelectorPath,
  selectPatterns,
} from "../../lib/core/channel.ts";
import { parseClientId, parseClientName } from "../../lib/core/client.ts";
import { MessagingError } from "../../lib/core/errors.ts";
import { parseJsonText } from "../../lib/base/json_text.ts";
import { toJsonPayload } from "../../lib/core/message.ts";
import { parseRules, Rules } from "../../lib/core/rules.ts";
import { parseBody } from "../../lib/http/body.ts";
import { findClientAddress } from "../../lib/http/client_address.ts";
import { parseOptions } from "../../lib/protocols/url/publish.ts";
import { parseReadRequest } from "../../lib/protocols/url/read_request.ts";
import { parseSince } from "../../lib/core/since.ts";
import { parseEngineUrl } from "../../lib/engines/mod.ts";
import { parseNetwork } from "../../lib/base/address.ts";

/** Text of any kind, and pieces of what might be meant. */
function textsAround(...pieces: readonly string[]): fc.Arbitrary<string> {
  const piece = fc.oneof(
    fc.constantFrom(...pieces),
    fc.string({ maxLength: 8 }),
    fc.string({ unit: "binary", maxLength: 4 }),
    fc.nat().map(String),
  );
  return fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(piece, { maxLength: 6 }).map((parts) => parts.join("")),
    // As long as it gets, for what repeats.
    fc.tuple(fc.constantFrom(...pieces), fc.nat(3_000)).map(([unit, count]) => unit.repeat(count)),
  );
}

/** Whether an error is one for those who gave the text, and says something. */
function assertHelps(error: unknown, given: unknown): void {
  const shown = JSON.stringify(given)?.slice(0, 300);
  assert.ok(
    error instanceof SyntaxError || (error instanceof MessagingError && error.code !== "internal"),
    `${shown}: ${error instanceof Error ? error.stack : error}`,
  );
  assert.match(error.message, /\w+ \w+/, shown);
  assert.doesNotMatch(error.message, /undefined|\[object|NaN|^$/, shown);
}

const NAME_PIECES = [
  "/",
  "a",
  "news",
  "*",
  "**",
  ",",
  "%2C",
  "%",
  "%e4",
  "..",
  ".",
  "_",
  "@",
  "api",
  "é",
  "e\u0301",
  "新",
  "🌧",
  " ",
  "\u200d",
  "\ud83d",
  "\0",
];

const PARSERS: readonly [name: string, pieces: readonly string[], parse: (text: string) => unknown][] = [
  ["parseChannel()", NAME_PIECES, parseChannel],
  ["parseChannelPath()", NAME_PIECES, (text) => parseChannelPath("/" + text)],
  ["parseSelectorPath()", NAME_PIECES, (text) => parseSelectorPath("/" + text)],
  ["parsePattern()", NAME_PIECES, parsePattern],
  ["parseClientId()", ["a", "/", " ", "%", "\n"], parseClientId],
  ["parseClientName()", ["a", "/", " ", "%", "\n", "\u202e"], parseClientName],
  [
    "parseSince()",
    ["10", "m", "d", "earliest", "-", "2026-01-31T12:00:00Z", "T", ":", "+01:00", "."],
    (text) => parseSince(text, parseSelectorPath("/news"), 0),
  ],
  ["parseOrigin()", ["https://", "example.org", ":", "8000", "/", "*", "null", "xn--", "@"], parseOrigin],
  ["parseApiKeys()", ["key", ",", " ", "\t", "é"], parseApiKeys],
  ["parseNetwork()", ["10.0.0.0", "/", "8", "::1", ":", "fe80", "%eth0", "."], parseNetwork],
  [
    "parseEngineUrl()",
    ["sqlite:", "memory:", "nats:", "//", "./data", "?", "synchronous=", "full", "%", "&"],
    parseEngineUrl,
  ],
  [
    "parseRules()",
    [
      "[",
      "]",
      "{",
      "}",
      '"channels"',
      ":",
      '"news/*"',
      ",",
      '"history"',
      '"allow"',
      '["subscribe"]',
      "1",
      "null",
    ],
    (text) => new Rules(parseRules(text)).for("news"),
  ],
  [
    "parseJsonText()",
    ["[", "]", "{", "}", '"a"', ":", ",", "1e999", "-0", "1.0", "\\u", "null"],
    parseJsonText,
  ],
];

for (const [name, pieces, parse] of PARSERS) {
  Deno.test(`${name} takes or refuses any text, in words that help`, () => {
    fc.assert(
      fc.property(textsAround(...pieces), (text) => {
        try {
          parse(text);
        } catch (error) {
          assertHelps(error, text);
        }
      }),
      { numRuns: 300 },
    );
  });
}

const segment = fc.stringMatching(/^[A-Za-z0-9\-=;:#$~!'()+]{1,12}$/)
  .filter((text) =>
    !["api", "app", "apps", "connection", "emulation", "metrics", "healthz", "readyz"].includes(text)
  );
const channel = fc.array(segment, { minLength: 1, maxLength: 5 }).map((segments) => segments.join("/"));

Deno.test("parseChannelPath() and parseSelectorPath() read every name back from its URL", () => {
  fc.assert(fc.property(channel, (name) => {
    const { pathname } = new URL(name.split("/").map(encodeURIComponent).join("/"), "http://host/");
    assert.equal(parseChannelPath(pathname), name);
    assert.equal(parseSelectorPath(pathname).channel, name);
  }));
});

Deno.test("matchesSelector() agrees with the same patterns as regular expressions", () => {
  const part = fc.oneof(fc.constantFrom("a", "b", "*"));
  const pattern = fc.tuple(fc.array(part, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([parts, open]) => [...parts, ...(open ? ["**"] : [])].join("/"));
  const name = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 5 });
  fc.assert(fc.property(fc.array(pattern, { minLength: 1, maxLength: 3 }), name, (patterns, segments) => {
    const channel = segments.join("/");
    const matches = patterns.some((pattern) =>
      new RegExp(`^${pattern.replaceAll("**", ".+").replaceAll(/(?<!\.)\*/g, "[^/]+")}$`).test(channel)
    );
    assert.equal(matchesSelector(selectPatterns(patterns), channel), matches, `${patterns} ${channel}`);
  }));
});

Deno.test("parseJsonText() takes what JSON.parse() takes, and gives numbers back as they were written", () => {
  const number = fc.stringMatching(/^-?(0|[1-9]\d{0,25})(\.\d{1,25})?([eE][+-]?\d{1,3})?$/);
  fc.assert(fc.property(fc.array(number), (numbers) => {
    const text = `[${numbers.join(",")}]`;
    assert.deepEqual(toJsonPayload(parseJsonText(text)), { kind: "json", text });
  }));
  fc.assert(fc.property(fc.json(), fc.nat(), fc.string({ maxLength: 2 }), (json, at, put) => {
    const text = json.slice(0, at % (json.length + 1)) + put + json.slice(at % (json.length + 1));
    const outcome = (parse: (text: string) => unknown) => {
      try {
        parse(text);
        return "taken";
      } catch (error) {
        return error instanceof SyntaxError ? "refused" : error;
      }
    };
    assert.equal(outcome(parseJsonText), outcome(JSON.parse), text);
  }));
});

Deno.test("parseRules() takes or refuses any JSON, and what it takes decides for every channel", () => {
  const setting = fc.constantFrom(
    "channels",
    "history",
    "ephemeral",
    "conflate",
    "presence",
    "allow",
    "allowSubscribers",
    "allowAnonymous",
    "__proto__",
    "x",
  );
  const likely = fc.oneof(
    fc.constantFrom(true, false, "news/*", "**", "a/**/b", ["subscribe"], ["fly"], { messages: 5 }, {
      seconds: -1,
    }),
    fc.jsonValue(),
  );
  const rules = fc.array(fc.oneof(fc.dictionary(setting, likely), fc.jsonValue()));
  fc.assert(
    fc.property(rules, channel, (value, name) => {
      let entries;
      try {
        entries = parseRules(JSON.stringify(value));
      } catch (error) {
        return assertHelps(error, value);
      }
      const { history, allow, ephemeral } = new Rules(entries).for(name);
      assert.ok(history.messages >= 0 && history.seconds >= 0 && Array.isArray(allow.actions));
      assert.equal(typeof ephemeral, "boolean");
    }),
    { numRuns: 500 },
  );
});

Deno.test("parseConfig() takes or refuses any value of any option, and never repeats a secret", () => {
  const flags = [...formatHelp().matchAll(/^ {2}--([\w-]+) /gm)].map(([, flag]) => `--${flag}`);
  assert.ok(flags.length > 10);
  const value = textsAround(
    "0",
    "-1",
    "1",
    "1e3",
    "99999999999",
    "memory:",
    "https://a.example",
    "*",
    ",",
    "true",
    "json",
  );
  fc.assert(
    fc.property(fc.constantFrom(...flags), value, (flag, text) => {
      try {
        parseConfig([`${flag}=${text}`], {});
      } catch (error) {
        assertHelps(error, [flag, text]);
      }
    }),
    { numRuns: 1_000 },
  );
  fc.assert(
    fc.property(fc.constantFrom(...ENVIRONMENT_VARIABLES), value, (variable, text) => {
      try {
        parseConfig([], { [variable]: `hush${text}` });
      } catch (error) {
        assertHelps(error, [variable, text]);
        if (/SECRET|API_KEYS/.test(variable)) assert.doesNotMatch(String(error), /hush/);
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("parseBody() reads or refuses any bytes of any type", () => {
  const type = fc.oneof(
    fc.constantFrom(
      "",
      "application/json",
      "application/vnd.x+json; charset=utf-8",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "text/plain",
      'text/html;charset="utf-8"',
      "text/plain; charset=latin1",
      "application/octet-stream",
      ";;;",
      "charset=;",
    ),
    headerText(),
  );
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((text) => new TextEncoder().encode(text)),
    fc.webQueryParameters().map((text) => new TextEncoder().encode(`data=${text}`)),
    fc.dictionary(fc.constantFrom("data", "event", "ttl", "to", "x", "__proto__"), fc.jsonValue())
      .map((value) => new TextEncoder().encode(JSON.stringify(value))),
  );
  fc.assert(
    fc.property(
      type,
      fc.constantFrom(undefined, "identity", "gzip", "br", ""),
      body,
      (type, encoding, bytes) => {
        const headers = new Headers({ "content-type": type });
        if (encoding !== undefined) headers.set("content-encoding", encoding);
        try {
          const { options } = parseBody(new Uint8Array(bytes), headers);
          parseOptions(options);
        } catch (error) {
          assert.ok(error instanceof MessagingError, String(error));
          assertHelps(error, [type, encoding, [...bytes]]);
        }
      },
    ),
    { numRuns: 1_000 },
  );
});

Deno.test("parseReadRequest() reads or refuses any path, query and Last-Event-ID", () => {
  const query = fc.array(
    fc.tuple(
      fc.constantFrom("since", "limit", "follow", "presence", "id", "name", "x"),
      textsAround("10m", "earliest", "0", "-1", "true", "a-1"),
    ),
    { maxLength: 4 },
  );
  const path = textsAround("/", "news", "*", "**", ",", "%2C", "..", "@a");
  fc.assert(
    fc.property(path, query, fc.option(headerText()), (path, query, lastEventId) => {
      const url = new URL("http://localhost/");
      url.pathname = path;
      url.search = new URLSearchParams(query).toString();
      const headers = new Headers(lastEventId === null ? {} : { "last-event-id": lastEventId });
      try {
        parseReadRequest(new Request(url, { headers }), 0);
      } catch (error) {
        assert.ok(error instanceof MessagingError, String(error));
        assertHelps(error, [url.href, lastEventId]);
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("findClientAddress() always answers with an address, whatever proxies are said to say", () => {
  const value = fc.array(
    fc.oneof(
      fc.constantFrom(
        "for=",
        '"',
        "\\",
        "[",
        "]",
        "unknown",
        ";",
        ",",
        "192.0.2.1",
        "10.0.0.1",
        "2001:db8::1",
        ":80",
      ),
      headerText(),
    ),
  ).map((parts) => parts.join("").trim()).filter((text) => canBeHeader(text));
  const networks = [parseNetwork("10.0.0.0/8")];
  fc.assert(
    fc.property(value, fc.constantFrom("x-forwarded-for", "forwarded"), (text, header) => {
      const address = findClientAddress("10.0.0.9", new Headers({ [header]: text }), { networks, header });
      assert.match(address, /^[\da-f.:]+$/i);
      const peer = findClientAddress("192.0.2.9", new Headers({ [header]: text }), { networks, header });
      assert.equal(peer, "192.0.2.9", "who is no proxy is not believed");
    }),
    { numRuns: 500 },
  );
});

/** What can be a header's value. */
function headerText(): fc.Arbitrary<string> {
  return fc.string({ unit: "binary", maxLength: 60 }).map((text) => text.trim()).filter(canBeHeader);
}

function canBeHeader(text: string): boolean {
  try {
    new Headers({ x: text });
    return true;
  } catch {
    return false;
  }
}
