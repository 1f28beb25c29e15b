/** The HTTP API: the channels that there are, by pattern and in pages. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { selectPatterns } from "../../lib/core/channel.ts";
import { compileGlob } from "../../lib/api/glob.ts";
import { Bench, withBench } from "./bench.ts";

interface ChannelPage {
  readonly channels: Record<string, { num_clients: number }>;
  readonly next?: string;
}

withBench("channels lists what is read by name, with readers, in order", async (bench) => {
  bench.connect({ channels: ["b", "a/x"] });
  bench.connect({ channels: ["b", "10", "9"] });
  bench.hub.subscribe(bench.connect({}), selectPatterns(["a/*"]));
  const text = await (await bench.post("channels", "{}")).text();
  assert.equal(
    text,
    '{"result":{"channels":{"10":{"num_clients":1},"9":{"num_clients":1},"a/x":{"num_clients":1},"b":{"num_clients":2}}}}\n',
  );
  assert.deepEqual(await bench.ask("channels", { pattern: "a*" }), {
    channels: { "a/x": { num_clients: 1 } },
  });
  assert.deepEqual(await bench.ask("channels", { pattern: "nothing" }), { channels: {} });
  assert.deepEqual(await bench.ask("channels", { cursor: "a" }), {
    channels: { "a/x": { num_clients: 1 }, "b": { num_clients: 2 } },
  });
});

Deno.test("channels pages through all there are, each once and in order, in any order of arrival", async () => {
  const names = fc.uniqueArray(fc.stringMatching(/^[a-c0-9]{1,4}$/), { maxLength: 40 });
  await fc.assert(fc.asyncProperty(names, fc.integer({ min: 1, max: 12 }), async (channels, limit) => {
    const bench = new Bench();
    bench.connect({ channels });
    const found: string[] = [];
    let cursor: string | undefined = "";
    while (cursor !== undefined) {
      const page = await bench.ask("channels", { limit, cursor }) as ChannelPage;
      const listed = Object.keys(page.channels).sort();
      assert.ok(listed.length <= limit);
      if (page.next !== undefined) assert.deepEqual([listed.length, listed.at(-1)], [limit, page.next]);
      found.push(...listed);
      cursor = page.next;
    }
    assert.deepEqual(found, [...channels].sort());
  }));
});

Deno.test("channels looks at each of 100,000 once a page, and sorts little more than the page", async () => {
  const names = Array.from({ length: 100_000 }, (_, i) => `room/${String(i).padStart(6, "0")}`);
  // Backwards each name belongs before all that were found so far, forwards none does.
  for (const [list, looksEach] of [[names, 2.5], [names.toReversed(), 40]] as const) {
    let looks = 0;
    const channels = list.map((name) => ({
      get channel() {
        looks++;
        return name;
      },
      subscribers: 1,
    }));
    const bench = new Bench();
    const hub = Object.create(bench.hub, {
      listChannels: { value: () => channels },
      untilCurrent: { value: () => undefined },
    });
    const page = await new Bench({ hub }).ask("channels", {
      limit: 100,
      cursor: "room/000099",
    }) as ChannelPage;
    assert.equal(Object.keys(page.channels).length, 100);
    assert.equal(page.next, "room/000199");
    assert.ok(looks < list.length * looksEach, `${looks} looks at names`);
  }
});

const GLOBS: readonly [pattern: string, matching: readonly string[], others: readonly string[]][] = [
  ["*", ["", "a", "a/b"], []],
  ["**", ["", "a/b"], []],
  ["chat/*", ["chat/", "chat/a", "chat/a/b"], ["chat", "xchat/a"]],
  ["*/b", ["a/b", "/b", "a/b/b"], ["a/bc", "b"]],
  ["a*b*c", ["abc", "aXbXc", "abbcc"], ["ab", "acb"]],
  ["?", ["a", "/"], ["", "ab"]],
  ["[abc]", ["a", "c"], ["d", ""]],
  ["[!abc]", ["d", "!"], ["a"]],
  ["[a-c]x", ["ax", "cx"], ["dx", "-x"]],
  ["[a-cx-z]", ["b", "y"], ["d", "-"]],
  ["[a-]", ["a", "-"], ["b"]],
  ["{a,b/*}", ["a", "b/x"], ["b", "a/x"]],
  ["x{,y}z", ["xz", "xyz"], ["xyyz"]],
  ["{a,{b,c}d}", ["a", "bd", "cd"], ["b", "d"]],
  ["a,b", ["a,b"], ["a"]],
  ["\\*", ["*"], ["a"]],
  ["\\{a\\}", ["{a}"], ["a"]],
  ["a.b(c)+$", ["a.b(c)+$"], ["aXb(c)+$"]],
  ["caf?", ["café", "cafe"], ["caf", "cafés"]],
  ["cafe\u0301*", ["café", "cafés"], ["cafe", "cafe1"]],
  ["?", ["🌧", "新", "e"], ["🌧🌧", "❤️"]],
  ["[🌦-🌨新]", ["🌧", "新"], ["闻", "a"]],
  ["{新闻,my room}", ["新闻", "my room"], ["my", "room"]],
];

for (const [pattern, matching, others] of GLOBS) {
  Deno.test(`compileGlob() reads ${pattern}`, () => {
    const matches = compileGlob(pattern);
    assert.deepEqual(matching.filter((text) => !matches(text)), []);
    assert.deepEqual(others.filter(matches), []);
  });
}

Deno.test("compileGlob() says what is wrong with a pattern", () => {
  const bad: readonly [pattern: string, message: RegExp][] = [
    ["{a", /\{ without/],
    ["a}", /\} that closes nothing/],
    ["[a", /\[ without/],
    ["[]", /\[ without/],
    ["[!]", /empty \[\]/],
    ["[z-a]", /range z-a/],
    ["a\\", /ends with a backslash/],
    ["x".repeat(256), /at most 255/],
    ["{a,b}".repeat(7), /more than 64 alternatives/],
    [`{${Array(65).fill("a")}}`, /more than 64 alternatives/],
  ];
  for (const [pattern, message] of bad) {
    assert.throws(() => compileGlob(pattern), (error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("compileGlob() agrees with a regular expression, and never hangs", () => {
  const pattern = fc.array(fc.constantFrom("a", "b", "*", "?", "[ab]", "[!a]"), { maxLength: 8 });
  fc.assert(fc.property(pattern, fc.stringMatching(/^[abc]{0,10}$/), (parts, text) => {
    const source = parts.join("").replaceAll("*", ".*").replaceAll("?", ".").replaceAll("[!", "[^");
    assert.equal(compileGlob(parts.join(""))(text), new RegExp(`^${source}$`).test(text));
  }));
  assert.equal(compileGlob("a*".repeat(120))("a".repeat(100) + "b"), false);
});
