/** What nodes write for each other, to NATS and back: read again as it was, and no bytes whatsoever do harm. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  encodeChange,
  encodeChanges,
  encodeNodeMessage,
  parseNodeMessage,
} from "../../lib/core/cluster/codec.ts";
import type { Draft } from "../../lib/core/message.ts";
import {
  decodeBody,
  decodeContents,
  decodeHead,
  encodeBody,
  encodeHead,
  encodeKey,
  RECORD_KINDS,
} from "../../lib/engines/jetstream/record.ts";

const text = fc.string({ unit: "grapheme", maxLength: 20 });
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const natural = fc.nat(Number.MAX_SAFE_INTEGER);
/** Up to the last moment that a Date can tell. */
const time = fc.nat(8_640_000_000_000_000);

const draft = fc.record({
  channel: fc.constantFrom("news", "a/b"),
  payload: fc.oneof(
    text.map((text) => ({ kind: "text" as const, text })),
    fc.json().map((text) => ({ kind: "json" as const, text: text.toWellFormed() })),
    fc.uint8Array({ maxLength: 50 }).map((bytes) => ({
      kind: "bytes" as const,
      bytes: new Uint8Array(bytes),
    })),
  ),
  event: optional(text),
  to: optional(text),
  socketId: optional(text),
}) as fc.Arbitrary<Draft>;

Deno.test("decodeBody() reads back what encodeBody() wrote", () => {
  fc.assert(fc.property(fc.array(draft, { maxLength: 5 }), fc.boolean(), (drafts, addressed) => {
    const contents = decodeBody(encodeBody(drafts, addressed));
    assert.deepEqual(
      contents.map(({ payload, event, to, socketId, channel }) => ({
        payload,
        event,
        to,
        socketId,
        channel,
      })),
      drafts.map(({ payload, event, to, socketId, channel }) => (
        { payload, event, to, socketId, channel: addressed ? channel : undefined }
      )),
    );
  }));
});

Deno.test("decodeContents() gives as many messages as are counted, of known kinds, whatever the bytes", () => {
  const entry = fc.record({
    k: fc.oneof(fc.constantFrom("text", "json", "bytes", "__proto__"), fc.jsonValue()),
    n: fc.oneof(fc.integer({ min: -3, max: 5 }), fc.jsonValue()),
  }, { requiredKeys: [] });
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.tuple(fc.array(fc.oneof(entry, fc.jsonValue()), { maxLength: 3 }), text)
      .map(([entries, rest]) => new TextEncoder().encode(`${JSON.stringify(entries)}\n${rest}`)),
    fc.tuple(fc.array(draft, { maxLength: 3 }), fc.nat(), fc.nat(255)).map(([drafts, at, byte]) => {
      const bytes = encodeBody(drafts, false);
      bytes[at % bytes.length] = byte;
      return bytes;
    }),
  );
  fc.assert(
    fc.property(body, fc.nat(3), (bytes, count) => {
      const contents = decodeContents(bytes, count);
      assert.equal(contents.length, count);
      for (const { payload } of contents) {
        assert.ok(["text", "json", "bytes"].includes(payload.kind), `kind ${payload.kind}`);
      }
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("decodeHead() reads back what encodeHead() wrote, and calls other texts none", () => {
  const head = fc.record({
    kind: fc.constantFrom(...RECORD_KINDS),
    time,
    clock: time,
    count: fc.nat(1_024),
    ttl: optional(fc.nat()),
    known: fc.record({ record: natural, offset: natural, time }, { noNullPrototype: true }),
    key: optional(text.filter((key) => key !== "").map(encodeKey)),
    fingerprint: optional(fc.stringMatching(/^[\w-]{2,43}$/)),
    epoch: optional(fc.stringMatching(/^[A-Za-z0-9]{1,12}$/)),
  }, { noNullPrototype: true });
  fc.assert(fc.property(head, (head) => assert.deepEqual(decodeHead(encodeHead(head)), head)));
  const near = fc.array(fc.oneof(fc.constantFrom("1", "-", "messages", "NaN", "-1", "1e99", ""), fc.string()))
    .map((words) => words.join(" "));
  fc.assert(
    fc.property(near, (text) => {
      const decoded = decodeHead(text);
      if (decoded === undefined) return;
      const { time, count, ttl } = decoded;
      assert.ok(time >= 0 && count >= 0 && count <= 1_024 && (ttl === undefined || ttl >= 0), text);
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("parseNodeMessage() reads back what nodes write, and refuses everything else", () => {
  const key = fc.nat();
  const changes = fc.array(
    fc.oneof(
      fc.tuple(fc.constant("subscription" as const), key, key, text),
      fc.tuple(fc.constant("gone" as const), key),
    ),
  );
  fc.assert(fc.property(text, fc.nat(), changes, (node, sequence, changes) => {
    const head = { node, kind: "changes" as const, sequence };
    const parsed = parseNodeMessage(encodeChanges(head, changes.map(encodeChange)));
    assert.deepEqual(parsed, { v: 1, ...head, changes });
    const ask = { node, kind: "ask" as const, after: sequence };
    assert.deepEqual(parseNodeMessage(encodeNodeMessage(ask)), { v: 1, ...ask });
  }));
  const any = fc.oneof(fc.uint8Array(), fc.json().map((text) => new TextEncoder().encode(text)));
  fc.assert(fc.property(any, (bytes) => {
    assert.throws(() => parseNodeMessage(bytes), SyntaxError);
  }));
});
