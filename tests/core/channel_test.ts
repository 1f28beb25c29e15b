/** The grammar of channel names, and how selectors and patterns read several at once. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  coversPattern,
  decodeSelector,
  directChannel,
  encodeSelector,
  LOBBY,
  matchesPattern,
  matchesSelector,
  MAX_CHANNEL_LENGTH,
  parseChannel,
  parseChannelPath,
  parsePattern,
  parseRulePattern,
  parseSelectorPath,
  RESERVED_SEGMENTS,
  selectChannel,
  selectPatterns,
} from "../../lib/core/channel.ts";

const ALPHABET = "ABCXYZabcxyz0189_-=@,.;:#$~!'()+éß新עअ🌧";

const arbitrarySegment = fc.string({ unit: fc.constantFrom(...ALPHABET), minLength: 1, maxLength: 12 });
const arbitraryName = fc.array(arbitrarySegment, { minLength: 1, maxLength: 8 })
  .map((segments) => segments.join("/"))
  .filter((name) => isAccepted(name));

function isAccepted(name: string): boolean {
  try {
    parseChannel(name);
    return true;
  } catch (error) {
    assert.ok(error instanceof SyntaxError);
    return false;
  }
}

function encodePath(name: string): string {
  return "/" + name.split("/").map(encodeURIComponent).join("/");
}

Deno.test("parseChannel() accepts every name of the grammar", () => {
  const names = [
    "a",
    "news",
    "orders/42",
    "a/_b/@c/.d",
    "a/...",
    "Z0_-=@,.;:#$~!'()+",
    "-",
    "x".repeat(MAX_CHANNEL_LENGTH),
    "metrics2",
    "news/api",
    "a/metrics",
    "my room",
    "a  b/c d",
    "café",
    "新闻",
    "новости/погода",
    "הודעות",
    "أخبار",
    "समाचार",
    "ราคา",
    "ᎣᏏᏲ",
    "٣",
    "½",
    "🌧",
    "❤️",
    "🇺🇦",
    "𝔘𝔫𝔦",
    "€→∑",
    "l’été",
    "カ・タ",
    "c·l",
    "ａｐｉ",
    "é".repeat(127),
    "🌧".repeat(63),
  ];
  for (const name of names) assert.equal(parseChannel(name), name);
});

Deno.test("parseChannel() gives one name for all normal forms of it", () => {
  const letters = fc.constantFrom(..."aeounAEOUNd\u0301\u0308\u0323\u0327\u212a\u2126가각각新🌧 /");
  fc.assert(fc.property(fc.string({ unit: letters, minLength: 1, maxLength: 30 }), (text) => {
    if (!isAccepted(text)) return;
    const name = parseChannel(text);
    for (const form of ["NFC", "NFD"] as const) assert.equal(parseChannel(text.normalize(form)), name);
    assert.equal(name, name.normalize("NFC"));
    assert.deepEqual(selectPatterns([text.normalize("NFD"), name]), selectChannel(name));
    assert.deepEqual(parseRulePattern(text.normalize("NFD")), name.split("/"));
  }));
  // What only looks alike stays another name.
  assert.notEqual(parseChannel("ｎｅｗｓ"), parseChannel("news"));
  assert.equal(parseChannel("\u212a"), "K");
  assert.throws(() => parseChannel("a/\u1fef"), SyntaxError, "it is a backquote in normal form");
});

Deno.test("parseChannel() refuses every name outside the grammar", () => {
  const names = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/.",
    "a/../b",
    " a",
    "a ",
    "a/ b",
    "a /b",
    " ",
    "a\n",
    "a\0",
    // Controls, formats, other spaces, what looks like nothing, and what is no text.
    "a\x7f",
    "a\x85b",
    "a\u00adb",
    "a\u200bb",
    "👨\u200d👩",
    "a\u202eb",
    "\ufeffa",
    "a\u00a0b",
    "a\u3000b",
    "a\u2028b",
    "\u3164",
    "\u{e0061}",
    "a\ud83d",
    "\udc00a",
    "caf\ufffd",
    "\ue000",
    "\u{10ffff}",
    "\u0378",
    "a%20",
    "a?b",
    "a*",
    "*",
    "a/**",
    "a\\b",
    'a"b',
    "<img>",
    "a&b",
    "a[0]",
    "x".repeat(MAX_CHANNEL_LENGTH + 1),
    "é".repeat(128),
    "🌧".repeat(64),
    "e\u0301".repeat(100_000),
    "a^b",
    "a`b",
    "a|b",
    "a{b}",
  ];
  for (const name of names) assert.throws(() => parseChannel(name), SyntaxError, JSON.stringify(name));
});

Deno.test("parseChannel() keeps the server's own first segments for the server", () => {
  const own = [...RESERVED_SEGMENTS, "_inspect", "_", "@id1", ".well-known"];
  for (const segment of own) {
    assert.throws(() => parseChannel(segment), /server's own/, segment);
    assert.throws(() => parseChannel(`${segment}/a`), SyntaxError);
  }
  assert.throws(() => parseChannelPath("/%5Finspect"), /server's own/);
  assert.throws(() => parseSelectorPath("/news,metrics"), /server's own/);
  assert.throws(() => parsePattern("api/*"), /server's own/);
});

Deno.test("parseChannel() names what is wrong in a short line", () => {
  assert.throws(() => parseChannel("a//b"), /"a\/\/b" has an empty segment/);
  assert.throws(() => parseChannel("a/.."), /segment ".."/);
  assert.throws(() => parseChannel("a?b"), /has the character "\?": names have .*\. Try "a-b"/);
  assert.throws(() => parseChannel("news "), /a space at the beginning or end.*Try "news"/);
  assert.throws(() => parseChannel("a\u200bb"), /U\+200B, which cannot be seen.*Try "ab"/);
  assert.throws(() => parseChannel("a\u3000b"), /the space U\+3000: write spaces as U\+0020\. Try "a b"/);
  assert.throws(() => parseChannel("a\ud83d"), /half a surrogate pair \(U\+D83D\)/);
  assert.throws(() => parseChannel("caf\ufffd"), /no UTF-8/);
  assert.throws(() => parseChannel("é".repeat(128)), /256 bytes in UTF-8: a channel name has at most 255/);
  assert.throws(() => parseChannel("x".repeat(300)), /300 characters: a channel name has at most 255/);
  assert.throws(() => parseChannel("\n".repeat(200)), (error: SyntaxError) => error.message.length < 300);
});

Deno.test("parseChannel() ends in a name or a SyntaxError, whatever the text", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => void isAccepted(text)));
});

Deno.test("parseChannelPath() reads back every accepted name from its percent-encoded path", () => {
  fc.assert(fc.property(arbitraryName, (name) => {
    assert.equal(parseChannelPath(encodePath(name)), name);
    const { pathname } = new URL(encodePath(name), "http://localhost:8000");
    assert.equal(parseChannelPath(pathname), name, "also after a URL has been through it");
    assert.deepEqual(parseSelectorPath(pathname), selectChannel(name));
  }));
});

Deno.test("parseChannelPath() reads the root as the lobby", () => {
  assert.equal(parseChannelPath("/"), LOBBY);
  assert.equal(parseSelectorPath("/").channel, LOBBY);
  assert.equal(parseChannelPath("/lobby"), LOBBY);
});

Deno.test("parseChannelPath() refuses lists, patterns and bad encodings, and says why", () => {
  assert.throws(() => parseChannelPath("/news,ops"), /list "news,ops".*%2C/);
  assert.equal(parseChannelPath("/news%2Cops"), "news,ops");
  assert.throws(() => parseChannelPath("/orders/*"), /patterns are for reading/);
  assert.throws(() => parseChannelPath("/orders/%2A"), /patterns are for reading/);
  // Overlong forms, halves of surrogate pairs and bytes without their others are no UTF-8 (RFC 3629).
  const paths = ["/%", "/%zz", "/%ff", "/a%c3", "/%c0%af", "/%e0%80%af", "/%ed%a0%bd", "/%f5%80%80%80"];
  for (const path of paths) {
    assert.throws(() => parseChannelPath(path), (error: SyntaxError) => {
      assert.ok(error instanceof SyntaxError && error.cause instanceof URIError);
      return /percent-encoded/.test(error.message);
    });
  }
});

Deno.test("parseSelectorPath() reads lists and patterns", () => {
  const { channel, patterns } = parseSelectorPath("/ops,news/*,b%2Cc");
  assert.equal(channel, undefined);
  assert.deepEqual(patterns, [["b,c"], ["news", "*"], ["ops"]]);
  assert.throws(() => parseSelectorPath("/news,"), SyntaxError);
  assert.throws(() => parseSelectorPath("/,"), SyntaxError);
});

Deno.test("selectPatterns() has one key for one set of names, and it is never a channel's name", () => {
  assert.equal(selectPatterns(["a", "b"]).key, selectPatterns(["b", "a", "b"]).key);
  assert.notEqual(selectPatterns(["a", "b"]).key, selectPatterns(["a,b"]).key);
  assert.deepEqual(selectPatterns(["a", "a"]), selectChannel("a"));
  const arbitraryPattern = fc.oneof(
    arbitraryName,
    fc.constantFrom("my room", "my", "room", "my room/*"),
    arbitraryName.map((name) => `${name}/*`),
    fc.constant("**"),
  );
  fc.assert(fc.property(fc.array(arbitraryPattern, { minLength: 1, maxLength: 4 }), (names) => {
    const selector = selectPatterns(names.filter((name) => name.length <= MAX_CHANNEL_LENGTH));
    assert.equal(isAccepted(selector.key), selector.channel !== undefined);
    assert.deepEqual(decodeSelector(encodeSelector(selector)), selector);
  }));
});

Deno.test("parsePattern() allows * for a segment and ** at the end, and nothing in between", () => {
  for (const pattern of ["*", "**", "a/*", "a/**", "*/b", "*/**", "a/*/c"]) {
    assert.deepEqual(parsePattern(pattern), pattern.split("/"));
  }
  for (const pattern of ["", "a*", "*a", "a/b*", "***", "**/a", "a/**/b", "**/**", "a//*", "*/", "_*"]) {
    assert.throws(() => parsePattern(pattern), SyntaxError, pattern);
  }
});

const RULE_PATTERNS: readonly [pattern: string, matching: string, other: string][] = [
  ["chat:*", "chat:a chat:b:c chat:*", "chat: chat chats:a chat:a/b a/chat:a"],
  ["chat:**", "chat:a chat:a/b chat:a/b/c", "chat: chat chat:/a a/chat:a"],
  ["a/chat-*/b", "a/chat-1/b", "a/chat-/b a/chat-1 a/chat-1/c chat-1"],
  ["a/b*", "a/bc", "a/b a/c a/bc/d"],
  ["a/*", "a/b", "a a/b/c"],
  ["**", "a a/b", ""],
  ["news", "news", "new newss"],
];

for (const [pattern, matching, other] of RULE_PATTERNS) {
  Deno.test(`parseRulePattern() reads ${pattern}, which matches ${matching.replaceAll(" ", ", ")}`, () => {
    const segments = parseRulePattern(pattern);
    const matches = (channel: string) => matchesPattern(segments, channel.split("/"));
    for (const channel of matching.split(" ")) assert.ok(matches(channel), channel);
    for (const channel of other.split(" ")) assert.ok(other === "" || !matches(channel), channel);
  });
}

Deno.test("parseRulePattern() takes a wildcard at the end of a segment alone, and parsePattern() only by itself", () => {
  for (const pattern of ["*a", "a*b", "a***", "***", "a**/b", "chat:**/x", "", "@*", "_*", " b*", "a//*"]) {
    assert.throws(() => parseRulePattern(pattern), SyntaxError, pattern);
  }
  for (const pattern of ["chat:*", "chat:**"]) {
    assert.throws(() => parsePattern(pattern), SyntaxError, pattern);
  }
});

Deno.test("coversPattern() means that whatever matches the narrower pattern matches the other", () => {
  const segment = fc.constantFrom("a", "ab", "a*", "b", "*");
  const pattern = fc.tuple(
    fc.array(segment, { minLength: 1, maxLength: 3 }),
    fc.constantFrom("", "**", "a**"),
  )
    .map(([head, tail]) => tail === "" ? head : [...head, tail]);
  const channel = fc.array(fc.constantFrom("a", "ab", "abc", "b"), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(pattern, pattern, channel, (wide, narrow, channel) => {
      if (coversPattern(wide, narrow) && matchesPattern(narrow, channel)) {
        assert.ok(matchesPattern(wide, channel));
      }
    }),
    { numRuns: 20_000 },
  );
  fc.assert(fc.property(pattern, channel, (pattern, channel) => {
    assert.equal(coversPattern(pattern, channel), matchesPattern(pattern, channel));
  }));
});

Deno.test("matchesPattern() takes * for one segment and ** for one or more", () => {
  const cases: readonly [pattern: string, channel: string, matches: boolean][] = [
    ["news", "news", true],
    ["news", "news/a", false],
    ["news", "ops", false],
    ["*", "news", true],
    ["*", "news/a", false],
    ["a/*", "a/b", true],
    ["a/*", "a", false],
    ["a/*", "a/b/c", false],
    ["a/*", "b/b", false],
    ["*/b", "a/b", true],
    ["*/b", "a/c", false],
    ["a/*/c", "a/b/c", true],
    ["a/**", "a/b", true],
    ["a/**", "a/b/c/d", true],
    ["a/**", "a", false],
    ["a/**", "b/b", false],
    ["*/**", "a", false],
    ["*/**", "a/b", true],
    ["**", "a", true],
    ["**", "a/b/c", true],
  ];
  for (const [pattern, channel, matches] of cases) {
    assert.equal(
      matchesPattern(parsePattern(pattern), channel.split("/")),
      matches,
      `${pattern} on ${channel}`,
    );
    const selector = selectPatterns([pattern]);
    assert.equal(matchesSelector(selector, channel), matches, `${pattern} on ${channel}`);
    assert.equal(matchesSelector(selectPatterns([pattern, "other"]), channel), matches);
  }
});

Deno.test("directChannel() is never a channel anybody can name", () => {
  assert.equal(directChannel("id1"), "@id1");
  assert.equal(isAccepted(directChannel("id1")), false);
});
