/** The tail of a webhook's messages gives each once and in order, however reads of the engine and announcements mix. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { selectPatterns } from "../../lib/core/channel.ts";
import type { LogPage } from "../../lib/core/log.ts";
import { encodeMessageMembers, type Message } from "../../lib/core/message.ts";
import { LiveTail } from "../../lib/hooks/live_tail.ts";
import { BODY_HEAD, BODY_TAIL, encodePage } from "../../lib/hooks/message_body.ts";

const EPOCH = "e";
const EVERYTHING = selectPatterns(["**"]);

function createMessage(sequence: number, epoch = EPOCH): Message {
  const nothing = { event: undefined, from: undefined, socketId: undefined, to: undefined };
  const payload = { kind: "text", text: "x".repeat(10) } as const;
  return { channel: "a", payload, epoch, offset: sequence, sequence, time: 0, ...nothing };
}

Deno.test("A lane that reads the tail where it can, and the engine else, misses nothing and repeats nothing", () => {
  let fromTail = 0;
  // How many messages come before a step, while it reads the engine, and after that; many make the tail overflow.
  const few = fc.integer({ min: 0, max: 5 });
  const step = fc.record({
    before: fc.oneof({ weight: 9, arbitrary: few }, { weight: 1, arbitrary: fc.constant(4_500) }),
    during: few,
    after: few,
    limit: fc.integer({ min: 1, max: 4 }),
    drops: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const tail = new LiveTail();
    let newest = 0;
    let sequence = 0;
    const announce = (count: number) => {
      tail.note(Array.from({ length: count }, () => createMessage(++newest)));
    };
    for (const { before, during, after, limit, drops } of steps) {
      announce(before);
      const page = tail.read({ epoch: EPOCH, sequence }, { messages: limit, bytes: 100_000 });
      if (page === undefined) {
        tail.start();
        announce(during);
        const end = newest;
        const more = end - sequence > limit;
        // The engine answers as of some moment; what comes after that is announced before the answer is seen.
        announce(after);
        sequence = more ? sequence + limit : end;
        if (!more) tail.follow({ epoch: EPOCH, sequence });
      } else {
        fromTail++;
        const sequences = readSequences(page.body);
        assert.equal(sequences.length, page.count);
        assert.deepEqual(sequences, sequences.map((_, i) => sequence + 1 + i));
        assert.ok(sequences.length > 0 && sequences.length <= limit);
        assert.equal(page.more, sequences.at(-1)! < newest);
        sequence = page.next.sequence;
        if (drops) tail.drop(sequence);
      }
    }
  }));
  assert.ok(fromTail > 0);
});

Deno.test("The tail is of no use after a place that it does not know, or in another epoch", () => {
  const tail = new LiveTail();
  const limits = { messages: 10, bytes: 1_000 };
  tail.note([createMessage(1)]);
  tail.start();
  tail.note([createMessage(2)]);
  assert.equal(tail.read({ epoch: EPOCH, sequence: 1 }, limits), undefined, "the engine was not read yet");
  tail.follow({ epoch: EPOCH, sequence: 1 });
  assert.equal(tail.read({ epoch: EPOCH, sequence: 0 }, limits), undefined, "it may lack the first");
  assert.equal(tail.read({ epoch: "other", sequence: 1 }, limits), undefined);
  tail.note([createMessage(3, "other")]);
  const all = { epoch: EPOCH, sequence: 1 };
  assert.equal(tail.read(all, limits), undefined, "of an engine that is no more, only the engine can tell");
});

Deno.test("What the tail sends is what the engine would have given, whatever the texts, within the limit", () => {
  const texts = fc.array(
    fc.oneof(
      fc.string({ maxLength: 60 }),
      fc.string({ unit: "grapheme", maxLength: 60 }),
      fc.constant("\u96e8".repeat(90)),
    ),
    { minLength: 1, maxLength: 60 },
  );
  const batches = fc.integer({ min: 1, max: 20 });
  fc.assert(fc.property(texts, batches, fc.integer({ min: 150, max: 2_000 }), (texts, batch, maxBytes) => {
    const tail = new LiveTail();
    tail.start();
    tail.follow({ epoch: EPOCH, sequence: 0 });
    const messages = texts.map((text, i): Message => ({
      ...createMessage(i + 1),
      payload: { kind: "text", text },
    }));
    for (let i = 0; i < messages.length; i += batch) tail.note(messages.slice(i, i + batch));
    const bytes = messages.map((message) => encodeEvent(message).length + 1).reduce(
      (sum, length) => sum + length,
      0,
    );
    const frame = BODY_HEAD.length + BODY_TAIL.length;
    assert.ok(tail.fills(bytes + frame));
    assert.ok(!tail.fills(bytes + frame + 1));
    let sequence = 0;
    while (sequence < texts.length) {
      const sent = tail.read({ epoch: EPOCH, sequence }, { messages: 20, bytes: maxBytes });
      assert.ok(sent !== undefined);
      assert.ok(sent.body.byteLength <= maxBytes || sent.count === 1);
      const page: LogPage = {
        kind: "complete",
        messages: messages.slice(sequence, sequence + sent.count),
        position: { epoch: EPOCH, offset: 0 },
        next: { kind: "id", epoch: EPOCH, sequence: sequence + sent.count },
        more: false,
      };
      const options = { selector: EVERYTHING, after: { epoch: EPOCH, sequence }, maxBytes: Infinity };
      assert.deepEqual(sent.body, encodePage(page, options).body);
      sequence = sent.next.sequence;
      assert.equal(sent.more, sequence < texts.length);
      tail.drop(sequence);
      assert.equal(tail.fills(frame + 1), sent.more, "what was sent fills no body");
    }
  }));
});

function encodeEvent(message: Message): Uint8Array {
  return new TextEncoder().encode(`{"type":"message",${encodeMessageMembers(message)}}`);
}

/** The sequences of the messages in a body. */
function readSequences(body: Uint8Array<ArrayBuffer>): readonly number[] {
  const parsed = JSON.parse(new TextDecoder().decode(body)) as {
    id: string;
    events?: readonly { id: string }[];
  };
  return (parsed.events ?? [parsed]).map(({ id }) => Number(id.split("-")[1]));
}
