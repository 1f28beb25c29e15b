/** Records on the wire: what is written is read again, and what is not ours does no harm. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Draft, payloadSize } from "../../../lib/core/message.ts";
import {
  decodeBody,
  decodeContents,
  decodeHead,
  encodeBody,
  encodeHead,
  encodeKey,
  estimateSize,
  RECORD_KINDS,
  type RecordHead,
} from "../../../lib/engines/jetstream/record.ts";

const whole = fc.nat({ max: Number.MAX_SAFE_INTEGER });
/** All that a Date can be. */
const moment = fc.nat({ max: 8.64e15 });
const head: fc.Arbitrary<RecordHead> = fc.record({
  kind: fc.constantFrom(...RECORD_KINDS),
  time: moment,
  clock: moment,
  count: fc.nat({ max: 1_024 }),
  ttl: fc.option(whole, { nil: undefined }),
  known: fc.record({ record: whole, offset: whole, time: moment, sequence: whole }, {
    noNullPrototype: true,
  }),
  key: fc.option(fc.string({ unit: "grapheme", minLength: 1 }).map(encodeKey), { nil: undefined }),
  fingerprint: fc.option(fc.stringMatching(/^[\w-]{2,43}$/), { nil: undefined }),
  epoch: fc.option(fc.stringMatching(/^[A-Za-z0-9]{1,12}$/), { nil: undefined }),
}, { noNullPrototype: true });

const text = fc.string({ unit: "grapheme" });
const draft: fc.Arbitrary<Draft> = fc.record({
  channel: fc.constantFrom("a", "b/c"),
  payload: fc.oneof(
    text.map((text) => ({ kind: "text" as const, text })),
    fc.json({ stringUnit: "grapheme" }).map((text) => ({ kind: "json" as const, text })),
    fc.uint8Array().map((array) => ({ kind: "bytes" as const, bytes: new Uint8Array(array) })),
  ),
  event: text,
  from: fc.record({ id: text, name: text }, { noNullPrototype: true }),
  socketId: text,
  to: text,
}, { requiredKeys: ["channel", "payload"] });

Deno.test("decodeHead() reads what encodeHead() wrote, in characters a header may have", () => {
  fc.assert(fc.property(head, (head) => {
    const encoded = encodeHead(head);
    assert.match(encoded, /^[\x21-\x7e]+( [\x21-\x7e]+){8,12}$/);
    const { sequence: _, ...known } = head.known;
    assert.deepEqual(decodeHead(encoded), head.epoch === undefined ? { ...head, known } : head);
  }));
});

Deno.test("decodeHead() knows nothing of what is of another version, or of none", () => {
  const good = "1 messages 5 1 - 0 0 0 -";
  assert.notEqual(decodeHead(good), undefined);
  for (
    const bad of [
      "",
      "2" + good.slice(1),
      good.slice(0, -2),
      good.replace("messages", "other"),
      good.replace("5", "-5"),
      good.replace("5", "8640000000000001"),
      good.replace("0 -", "8640000000000001 -"),
    ]
  ) {
    assert.equal(decodeHead(bad), undefined, bad);
  }
  fc.assert(fc.property(fc.string(), (text) => void decodeHead(text)));
  assert.equal(decodeHead("1 messages 5 99999999 - 0 0 0 -")?.count, 1_024, "no record holds more");
});

Deno.test("decodeBody() reads what encodeBody() wrote, and its size is estimated from above", () => {
  fc.assert(fc.property(fc.array(draft, { maxLength: 6 }), fc.boolean(), (drafts, addressed) => {
    const body = encodeBody(drafts, addressed);
    const contents = decodeBody(body);
    assert.deepEqual(
      contents,
      drafts.map(({ payload, event, from, socketId, channel, to }) => ({
        payload,
        event,
        from,
        socketId,
        channel: addressed ? channel : undefined,
        to,
      })),
    );
    // Ids come from a grammar and tokens, names are estimated by three bytes a character.
    const plain = drafts.map(({ channel, payload }): Draft => ({ channel, payload }));
    const estimate = plain.reduce((sum, each) => sum + estimateSize(each, payloadSize(each.payload)), 3);
    assert.ok(encodeBody(plain, addressed).byteLength <= estimate);
  }));
});

Deno.test("decodeContents() makes as many messages as were counted of whatever it is given", () => {
  fc.assert(fc.property(fc.uint8Array(), fc.nat({ max: 5 }), (bytes, count) => {
    assert.equal(decodeContents(bytes, count).length, count);
  }));
  const encode = (text: string) => new TextEncoder().encode(text);
  for (
    const bad of [
      "[null]\n",
      "[1]\n",
      '[{"k":"text","n":5}]\nabc',
      '[{"k":"text","n":-1}]\nabc',
      "{}\n",
      "[]",
      '[{"k":"x","n":0}]\n',
      ...["e", "f", "s", "c", "t"].map((name) => `[{"k":"text","n":0,"${name}":5}]\n`),
      '[{"k":"text","n":0,"f":null}]\n',
      '[{"k":"text","n":0,"f":{}}]\n',
      '[{"k":"text","n":0,"f":{"id":"a","info":{}}}]\n',
    ]
  ) {
    const [content] = decodeContents(encode(bad), 1);
    const { payload, ...rest } = content!;
    assert.deepEqual(payload, { kind: "text", text: "" }, bad);
    assert.ok(Object.values(rest).every((part) => part === undefined), bad);
  }
});
