/** Messages as JSON readers see them, and the sizes limits are counted in. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8Length } from "../../lib/base/utf8.ts";
import {
  encodeMessageJson,
  encodePayloadJson,
  formatId,
  formatTime,
  isTransient,
  payloadSize,
} from "../../lib/core/message.ts";
import { createDraft, createMessage } from "../fakes/message.ts";

Deno.test("encodeMessageJson() writes every field of a stored message", () => {
  const message = createMessage("it\nrains", {
    epoch: "ab12",
    offset: 3,
    sequence: 17,
    event: "weather",
    from: { id: "id1", name: "John" },
    socketId: "s1",
    to: "id2",
  });
  assert.deepEqual(JSON.parse(encodeMessageJson(message)), {
    channel: "news",
    id: "ab12-17",
    offset: 3,
    time: "2026-01-01T00:00:00.000Z",
    data: "it\nrains",
    event: "weather",
    from: { id: "id1", name: "John" },
  });
});

Deno.test("encodeMessageJson() leaves out what a message has not", () => {
  assert.equal(
    encodeMessageJson(createMessage("a")),
    '{"channel":"news","time":"2026-01-01T00:00:00.000Z","data":"a"}',
  );
});

Deno.test("encodeMessageJson() is one line of valid JSON, whatever the texts", () => {
  const text = fc.string({ unit: "binary" });
  fc.assert(fc.property(text, text, text, fc.jsonValue(), (data, event, name, value) => {
    const from = { id: "id1", name };
    for (
      const payload of [{ kind: "text", text: data }, { kind: "json", text: JSON.stringify(value) }] as const
    ) {
      const json = encodeMessageJson(createMessage("", { payload, event, from }));
      assert.doesNotMatch(json, /[\n\r]/);
      const parsed: unknown = JSON.parse(json);
      const expected = payload.kind === "text" ? data : JSON.parse(payload.text);
      assert.deepEqual(parsed, {
        channel: "news",
        time: "2026-01-01T00:00:00.000Z",
        data: expected,
        event,
        from,
      });
    }
  }));
});

Deno.test("encodePayloadJson() writes text as a string, JSON as it is, bytes as base64", () => {
  assert.equal(encodePayloadJson({ kind: "text", text: 'say "hi"' }), '"say \\"hi\\""');
  assert.equal(encodePayloadJson({ kind: "json", text: '{"a":1.0}' }), '{"a":1.0}');
  assert.equal(encodePayloadJson({ kind: "bytes", bytes: Uint8Array.of(0, 255, 254) }), '{"base64":"AP/+"}');
  assert.equal(encodePayloadJson({ kind: "bytes", bytes: new Uint8Array() }), '{"base64":""}');
});

Deno.test("encodePayloadJson() escapes in text what JSON.stringify() does, in short ones and long ones", () => {
  for (const rest of ["", "x".repeat(200)]) {
    for (let unit = 0; unit <= 0xffff; unit++) {
      const text = String.fromCharCode(unit) + rest;
      assert.equal(encodePayloadJson({ kind: "text", text }), JSON.stringify(text));
    }
  }
});

Deno.test("encodeMessageJson() names the channel, also of more channels than it remembers", () => {
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 1_500; i++) {
      const channel = `"${i}"`;
      const json = encodeMessageJson({ ...createMessage("a"), channel });
      assert.equal((JSON.parse(json) as { channel: string }).channel, channel);
    }
  }
});

Deno.test("utf8Length() is the length of the encoded text, lone surrogates included", () => {
  const encoder = new TextEncoder();
  // Units rather than characters, mostly surrogates, so that pairs come in every state of disrepair.
  const unit = fc.oneof(
    fc.integer({ min: 0xd7fe, max: 0xe001 }),
    fc.integer({ min: 0, max: 0xffff }),
    fc.constantFrom(0, 0x7f, 0x80, 0x7ff, 0x800, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0xffff),
  );
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 50 }), (units) => {
      const text = String.fromCharCode(...units);
      assert.equal(utf8Length(text), encoder.encode(text).length);
    }),
    { numRuns: 1_000 },
  );
  assert.equal(utf8Length("🌧️é a"), encoder.encode("🌧️é a").length);
});

Deno.test("payloadSize() counts bytes of UTF-8, or raw bytes", () => {
  assert.equal(payloadSize({ kind: "text", text: "é" }), 2);
  assert.equal(payloadSize({ kind: "json", text: '"é"' }), 4);
  assert.equal(payloadSize({ kind: "bytes", bytes: new Uint8Array(7) }), 7);
});

Deno.test("isTransient() is true of ephemeral and direct drafts alone", () => {
  assert.equal(isTransient(createDraft("a")), false);
  assert.equal(isTransient(createDraft("a", { ephemeral: false, ttl: 1 })), false);
  assert.equal(isTransient(createDraft("a", { ephemeral: true })), true);
  assert.equal(isTransient(createDraft("a", { to: "id1" })), true);
});

Deno.test("formatId() joins epoch and sequence with a dash", () => {
  assert.equal(formatId("ab12", 7), "ab12-7");
});

Deno.test("Times are written as Date writes them, whatever was written before", () => {
  // The largest is in the year 10000, which has a sign and two digits more.
  const time = fc.integer({ min: -62_167_219_200_000, max: 253_402_300_800_000 });
  const near = fc.tuple(time, fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 5 }));
  fc.assert(fc.property(fc.array(near), (groups) => {
    for (const [start, steps] of groups) {
      for (const step of [0, ...steps]) {
        const at = Math.min(start + step, 253_402_300_800_000);
        assert.equal(formatTime(at), new Date(at).toISOString());
      }
    }
  }));
});
