/** The handover itself: what is held, what is forgotten, and when the log is asked again. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { selectChannel } from "../../lib/core/channel.ts";
import type { Cursor, LogPage } from "../../lib/core/log.ts";
import type { Message } from "../../lib/core/message.ts";
import { LiveBuffer, replay } from "../../lib/core/replay.ts";
import { createMessage } from "../fakes/message.ts";
import { settle } from "../fakes/schedule.ts";
import { textOf } from "../fakes/socket.ts";

const EARLIEST: Cursor = { kind: "earliest" };

function createStored(sequence: number): Message {
  return createMessage(`${sequence}`, { sequence, offset: sequence });
}

function texts(messages: readonly Message[] | undefined): string[] | undefined {
  return messages?.map(textOf);
}

Deno.test("LiveBuffer.release() gives what is beyond a sequence, and every ephemeral message, in order", () => {
  const buffer = new LiveBuffer(10);
  buffer.add([createStored(1), createMessage("e"), createStored(2)]);
  buffer.add([createStored(3)]);
  assert.deepEqual(texts(buffer.release(2)), ["e", "3"]);
  assert.deepEqual(texts(buffer.release(0)), ["1", "e", "2", "3"]);
});

Deno.test("LiveBuffer.add() beyond the bound forgets everything until it restarts", () => {
  const buffer = new LiveBuffer(2);
  buffer.add([createStored(1), createStored(2)]);
  assert.deepEqual(texts(buffer.release(0)), ["1", "2"], "as many as the bound are kept");
  buffer.add([createStored(3)]);
  assert.equal(buffer.release(0), undefined);
  buffer.add([createStored(4)]);
  assert.equal(buffer.release(0), undefined, "a part is worth nothing");
  buffer.restart();
  buffer.add([createStored(5)]);
  assert.deepEqual(texts(buffer.release(4)), ["5"]);
});

/** A log of one channel that grows under the test's hands, and holds every read until it says. */
class GrowingLog {
  readonly messages: Message[] = [];
  readonly queries: { readonly after: Cursor; readonly limit: number }[] = [];
  #reads: (() => void)[] = [];

  grow(count: number): readonly Message[] {
    const added = Array.from({ length: count }, (_, i) => createStored(this.messages.length + i + 1));
    this.messages.push(...added);
    return added;
  }

  read(query: { readonly after: Cursor; readonly limit: number }): Promise<LogPage> {
    this.queries.push(query);
    const { after, limit } = query;
    const found = this.messages.filter((message) => after.kind !== "id" || message.sequence > after.sequence);
    const messages = found.slice(0, Math.min(limit, 3));
    const more = found.length > messages.length;
    const sequence = more ? messages.at(-1)!.sequence : this.messages.length;
    const position = { epoch: "e", offset: this.messages.length };
    const page = {
      kind: "complete",
      messages,
      more,
      position,
      next: { kind: "id", epoch: "e", sequence },
    } as const;
    return new Promise((resolve) => this.#reads.push(() => resolve(page)));
  }

  /** Lets the read that waits resolve; false when none does. */
  async release(): Promise<boolean> {
    const read = this.#reads.shift();
    read?.();
    await settle();
    return read !== undefined;
  }
}

Deno.test("replay() reads in pages of a bounded size", async () => {
  const log = new GrowingLog();
  log.grow(1);
  const live: Message[] = [];
  const done = replay({
    log,
    selector: selectChannel("news"),
    after: EARLIEST,
    buffer: new LiveBuffer(1),
    write: () => Promise.resolve(true),
    onGap: () => assert.fail("there is no gap"),
    goLive: (messages) => live.push(...messages),
  });
  await log.release();
  await done;
  assert.deepEqual(log.queries.map(({ limit }) => limit <= 1_000), [true]);
  assert.deepEqual(live, []);
});

Deno.test("replay() stops without going live when the reader is gone", async () => {
  const log = new GrowingLog();
  log.grow(10);
  const done = replay({
    log,
    selector: selectChannel("news"),
    after: EARLIEST,
    buffer: new LiveBuffer(1),
    write: () => Promise.resolve(false),
    onGap: () => assert.fail("there is no gap"),
    goLive: () => assert.fail("nobody is there"),
  });
  await log.release();
  await done;
  assert.equal(log.queries.length, 1);
});

Deno.test("replay() meets the live messages exactly, however small the buffer and slow the reader", async () => {
  const arbitraryStep = fc.oneof(
    fc.record({ kind: fc.constant("publish" as const), count: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ kind: fc.constantFrom("read" as const, "write" as const), count: fc.constant(1) }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 8 }),
      fc.nat({ max: 6 }),
      fc.array(arbitraryStep),
      async (before, bound, steps) => {
        const log = new GrowingLog();
        log.grow(before);
        const buffer = new LiveBuffer(bound);
        const received: Message[] = [];
        const writes: (() => void)[] = [];
        let live = false;
        const done = replay({
          log,
          selector: selectChannel("news"),
          after: EARLIEST,
          buffer,
          write: (messages) => {
            received.push(...messages);
            return new Promise((resolve) => writes.push(() => resolve(true)));
          },
          onGap: () => assert.fail("there is no gap"),
          goLive: (messages) => {
            live = true;
            received.push(...messages);
          },
        });
        const advance = async (kind: "read" | "write") => {
          if (kind === "read") return await log.release();
          const write = writes.shift();
          write?.();
          await settle();
          return write !== undefined;
        };
        for (const { kind, count } of steps) {
          if (kind !== "publish") {
            await advance(kind);
            continue;
          }
          const added = log.grow(count);
          if (live) received.push(...added);
          else buffer.add(added);
        }
        while (await advance("read") || await advance("write"));
        await done;
        assert.deepEqual(received, log.messages);
      },
    ),
    { numRuns: 300 },
  );
});
