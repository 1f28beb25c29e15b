/** Bodies of webhooks hold what fits, leave nothing out, and say what the messages say. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseRulePattern } from "../../lib/core/channel.ts";
import type { LogPage } from "../../lib/core/log.ts";
import { encodeMessageJson, type Message } from "../../lib/core/message.ts";
import { createMatcher } from "../../lib/hooks/channel_matcher.ts";
import { encodePage } from "../../lib/hooks/message_body.ts";

const SELECTOR = { key: "**", channel: undefined, patterns: [["**"]] };
const OVERHEAD = '{"events":[]}'.length;

interface Event {
  readonly type: string;
}

function createPage(texts: readonly string[], gap: boolean): LogPage {
  const nothing = { event: undefined, from: undefined, socketId: undefined, to: undefined };
  const messages = texts.map((text, i): Message => ({
    ...{ channel: "a", payload: { kind: "text", text }, epoch: "e", offset: i + 1, sequence: i + 1, time: i },
    ...nothing,
  }));
  const position = { epoch: "e", offset: messages.length };
  const page = {
    messages,
    position,
    next: { kind: "id", epoch: "e", sequence: messages.length },
    more: false,
  } as const;
  return gap
    ? { ...page, kind: "gap", earliest: "e-1", resume: { epoch: "e", sequence: 0 } as never }
    : { ...page, kind: "complete" };
}

Deno.test("Bodies hold the messages of a page in order, as many as fit, and one that fits nowhere alone", () => {
  const texts = fc.array(
    fc.oneof(
      fc.string({ maxLength: 80 }),
      fc.string({ unit: "grapheme", maxLength: 80 }),
      fc.constant("雨".repeat(200)),
    ),
    { minLength: 1, maxLength: 40 },
  );
  fc.assert(fc.property(texts, fc.boolean(), fc.integer({ min: 100, max: 3_000 }), (texts, gap, maxBytes) => {
    let page = createPage(texts, gap);
    const sent: Event[] = [];
    while (page.messages.length > 0) {
      const after = { epoch: "e", sequence: 0 };
      const { body: bytes, count } = encodePage(page, { selector: SELECTOR, after, maxBytes });
      assert.ok(count >= 1);
      assert.ok(
        bytes.byteLength <= maxBytes || count === 1,
        `${count} messages in ${bytes.byteLength} bytes`,
      );
      const body = JSON.parse(new TextDecoder().decode(bytes)) as Event & { events?: readonly Event[] };
      const events = body.events ?? [body];
      if (page.kind === "gap") assert.equal(events[0]?.type, "gap");
      sent.push(...events.filter(({ type }) => type === "message"));
      page = { ...createPage([], false), messages: page.messages.slice(count) };
    }
    const expected = createPage(texts, false).messages.map((message) => ({
      type: "message",
      ...JSON.parse(encodeMessageJson(message)),
    }));
    assert.deepEqual(sent, expected);
  }));
});

Deno.test("Bodies are filled: the next message would not have fitted", () => {
  const { body: bytes, count } = encodePage(createPage(Array(100).fill("x".repeat(20)), false), {
    ...{ selector: SELECTOR, after: { epoch: "e", sequence: 0 }, maxBytes: 2_000 },
  });
  const each = (bytes.byteLength - OVERHEAD) / count;
  assert.ok(bytes.byteLength <= 2_000 && bytes.byteLength + each + 1 > 2_000, `${bytes.byteLength} bytes`);
});

Deno.test("A matcher says what the selector says, also of more channels than it remembers", () => {
  const patterns = ["orders/*", "chat:**", "news"].map(parseRulePattern);
  const matches = createMatcher({ key: "", channel: undefined, patterns });
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 1_500; i++) {
      assert.equal(matches(`orders/${i}`), true);
      assert.equal(matches(`orders/${i}/more`), false);
    }
    assert.equal(matches("chat:a/b"), true);
    assert.equal(matches("news"), true);
    assert.equal(matches("other"), false);
  }
  assert.equal(createMatcher(SELECTOR)("any/where"), true);
});
