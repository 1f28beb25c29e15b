/** Channel names and NATS subjects: each has one of the other, and patterns match alike. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { matchesPattern, parseChannel, parsePattern } from "../../../lib/core/channel.ts";
import { JetStreamSubjects } from "../../../lib/engines/jetstream/subject.ts";

const subjects = new JetStreamSubjects("rain");

for (
  const [channel, subject] of [
    ["news", "rain.c.news"],
    ["a/b/c", "rain.c.a.b.c"],
    ["v1.2/...", "rain.c.v1%2E2.%2E%2E%2E"],
    ["$x~'(!)+=@,;:#-_", "rain.c.$x~'(!)+=@,;:#-_"],
    // What the grammar of channels does not know is not lost either.
    ["a b*/>é🌧%", "rain.c.a%20b%2A.%3E%C3%A9%F0%9F%8C%A7%25"],
  ] as const
) {
  Deno.test(`JetStreamSubjects stores "${channel}" under "${subject}" and finds it again`, () => {
    assert.equal(subjects.messages(channel), subject);
    assert.equal(subjects.readChannel(subject), channel);
    assert.equal(subjects.readChannel(subjects.claim(channel)), channel);
  });
}

/** A character that may stand anywhere in a name: of ASCII, of any script, or a mark, which joins what is before it. */
const character = fc.oneof(
  fc.constantFrom(..."abZ09_-=@,.;:#$~!'()+"),
  fc.constantFrom("é", "e\u0301", "ß", "新", "闻", "ع", "अ", "가", "🌧", "❤\ufe0f", "€", "a b", "’"),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }),
);
const segment = fc.array(character, { minLength: 1, maxLength: 6 })
  .map((characters) => characters.join(""))
  .filter((text) => text !== "." && text !== ".." && isName(`c/${text}`) && !text.includes("/"));

function isName(text: string): boolean {
  try {
    parseChannel(text);
    return true;
  } catch {
    return false;
  }
}

Deno.test("JetStreamSubjects gives each channel a subject of its own that NATS takes", () => {
  fc.assert(fc.property(fc.array(segment, { minLength: 1, maxLength: 5 }), (segments) => {
    const channel = parseChannel(["c", ...segments].join("/"));
    const subject = subjects.messages(channel);
    assert.equal(subjects.readChannel(subject), channel);
    assert.ok(subject.split(".").every((token) => /^[^\s*>.]+$/.test(token)), subject);
    assert.equal(subject.split(".").length, segments.length + 3);
    assert.match(subject, /^[!-~]+$/, "ASCII alone, as no tool of NATS minds that");
  }));
  const other = fc.array(segment, { minLength: 1, maxLength: 3 }).map((segments) => segments.join("/"));
  fc.assert(fc.property(other, other, (a, b) => {
    const [one, two] = [parseChannel(`c/${a}`), parseChannel(`c/${b}`)];
    assert.equal(subjects.messages(one) === subjects.messages(two), one === two);
  }));
});

Deno.test("JetStreamSubjects keeps the subjects of names in ASCII, and of the longest names within what NATS takes", () => {
  for (
    const [name, subject] of [["café", "caf%C3%A9"], ["新闻", "%E6%96%B0%E9%97%BB"], [
      "my room",
      "my%20room",
    ]] as const
  ) {
    assert.equal(subjects.messages(name), `rain.c.${subject}`);
  }
  const longest = parseChannel("新".repeat(85));
  assert.equal(subjects.readChannel(subjects.messages(longest)), longest);
  // A line of the protocol has at most 4096 bytes unless the server is told otherwise.
  assert.ok(subjects.messages(longest).length < 1_000);
});

Deno.test("JetStreamSubjects lets patterns of NATS match what patterns of channels match", () => {
  const channel = fc.array(fc.constantFrom("a", "b.c", "d"), { minLength: 1, maxLength: 4 });
  const pattern = fc.array(fc.constantFrom("a", "b.c", "*"), { minLength: 1, maxLength: 3 });
  fc.assert(fc.property(channel, pattern, fc.boolean(), (segments, start, open) => {
    const words = parsePattern([...start, ...(open ? ["**"] : [])].join("/"));
    const tokens = words.map((word) =>
      word === "**" ? ">" : word === "*" ? word : subjects.messages(word).slice("rain.c.".length)
    );
    const subject = subjects.messages(segments.join("/")).slice("rain.c.".length);
    assert.equal(matchesSubject(tokens, subject.split(".")), matchesPattern(words, segments));
  }));
});

/** https://docs.nats.io/nats-concepts/subjects#wildcards */
function matchesSubject(pattern: readonly string[], tokens: readonly string[]): boolean {
  const isOpen = pattern.at(-1) === ">";
  if (isOpen ? tokens.length < pattern.length : tokens.length !== pattern.length) return false;
  return pattern.every((word, i) => word === "*" || word === tokens[i] || word === ">");
}

for (const subject of ["other.c.news", "rain.t.node", "rain.c.%ZZ", "rain.c.%FF"]) {
  Deno.test(`JetStreamSubjects finds no channel in "${subject}"`, () => {
    assert.equal(subjects.readChannel(subject), undefined);
  });
}
