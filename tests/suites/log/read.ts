/** Reading: what a page holds, from which place, and where to go on. Part of `log_suite.ts`. */
import assert from "node:assert/strict";
import { selectChannel, selectPatterns } from "../../../lib/core/channel.ts";
import type { Cursor, LogPage, Receipt } from "../../../lib/core/log.ts";
import { formatId, type Payload } from "../../../lib/core/message.ts";
import {
  ALL,
  assertGap,
  assertIncreasing,
  assertNext,
  draft,
  EARLIEST,
  EVERYTHING,
  NEWS,
  payloadText,
  readAll,
  type TestLog,
  texts,
} from "./bench.ts";

export function testRead(test: TestLog): void {
  test("read() returns payloads, event and sender as they were published", async ({ log, announced }) => {
    const payloads: Payload[] = [
      { kind: "text", text: "" },
      { kind: "text", text: "line\nline\r\n\ttab \0 nul \u202e right-to-left 🌧️ ☔" },
      { kind: "json", text: '{"a":[1,2,{"b":null}],"__proto__":"x"}' },
      { kind: "json", text: "null" },
      { kind: "json", text: '"text"' },
      { kind: "json", text: "12345678901234567890.0" },
      { kind: "bytes", bytes: new Uint8Array() },
      { kind: "bytes", bytes: Uint8Array.from({ length: 256 }, (_, i) => i) },
    ];
    for (const payload of payloads) {
      await log.append({ channel: "news", payload, event: "é vent", from: { id: "id1", name: "J🌧hn" } });
    }
    await log.append({ ...draft("news", "a"), from: { id: "id1" } });
    await log.append(draft("news", "b"));
    const { messages } = await log.read({ selector: NEWS, after: EARLIEST, limit: ALL });
    for (const [i, payload] of payloads.entries()) {
      assert.deepEqual(messages[i]?.payload, payload);
      assert.equal(messages[i]?.event, "é vent");
      assert.deepEqual(messages[i]?.from, { id: "id1", name: "J🌧hn" });
    }
    assert.deepEqual(messages.at(-2)?.from, { id: "id1" });
    assert.equal(messages.at(-1)?.from, undefined);
    assert.equal(messages.at(-1)?.event, undefined);
    assert.deepEqual(messages, announced, "stored and live messages are the same");
  });

  test("read() returns the socket a message came on, so that replays leave its sender out", async ({ log }) => {
    await log.append({ ...draft("news", "a"), socketId: "s1" });
    await log.append(draft("news", "b"));
    const { messages } = await readAll(log, "news");
    assert.deepEqual(messages.map((message) => message.socketId), ["s1", undefined]);
  });

  test("read() finds a channel that was never written to empty and complete", async ({ log }) => {
    await log.append(draft("other", "a"));
    for (
      const after of [
        EARLIEST,
        { kind: "latest" },
        { kind: "offset", offset: 0 },
        { kind: "time", time: 0 },
        { kind: "id", epoch: log.top.epoch, sequence: 0 },
      ] satisfies Cursor[]
    ) {
      const page = await log.read({ selector: NEWS, after, limit: 10 });
      assert.equal(page.kind, "complete", after.kind);
      assert.deepEqual(page.messages, []);
      assert.deepEqual(page.position, { epoch: log.top.epoch, offset: 0 });
      assertNext(page, log.top);
      assert.equal(page.more, false);
    }
  });

  test("read() starts after each kind of cursor", async ({ log, clock }) => {
    const receipts: Receipt[] = [];
    for (const text of ["a", "b", "c", "d"]) {
      receipts.push(await log.append(draft("news", text)));
      await log.append(draft("other", text));
      clock.advance(10);
    }
    const [, b, c] = receipts as [Receipt, Receipt, Receipt, Receipt];
    const epoch = log.top.epoch;
    const cases: readonly [Cursor, string[]][] = [
      [EARLIEST, ["a", "b", "c", "d"]],
      [{ kind: "id", epoch, sequence: 0 }, ["a", "b", "c", "d"]],
      [{ kind: "id", epoch, sequence: b.sequence }, ["c", "d"]],
      [{ kind: "id", epoch, sequence: b.sequence + 1 }, ["c", "d"]],
      [{ kind: "id", epoch, sequence: log.top.sequence }, []],
      [{ kind: "offset", offset: 0 }, ["a", "b", "c", "d"]],
      [{ kind: "offset", offset: 2 }, ["c", "d"]],
      [{ kind: "offset", offset: 2, epoch }, ["c", "d"]],
      [{ kind: "offset", offset: 4 }, []],
      [{ kind: "time", time: 0 }, ["a", "b", "c", "d"]],
      [{ kind: "time", time: c.time }, ["c", "d"]],
      [{ kind: "time", time: c.time + 1 }, ["d"]],
      [{ kind: "time", time: clock.now() }, []],
      [{ kind: "latest" }, ["a", "b", "c", "d"]],
    ];
    for (const [after, expected] of cases) {
      const page = await log.read({ selector: NEWS, after, limit: ALL });
      assert.deepEqual(texts(page), expected, JSON.stringify(after));
      assert.equal(page.kind, "complete");
      assert.equal(page.more, false);
      assert.deepEqual(page.position, { epoch, offset: 4 });
      assertNext(page, log.top);
    }
  });

  test("read() from latest holds the newest messages, oldest first", async ({ log }) => {
    for (let i = 0; i < 10; i++) await log.append(draft(i % 2 === 0 ? "news" : "other", i));
    const latest = (limit: number, selector = NEWS) =>
      log.read({ selector, after: { kind: "latest" }, limit });
    assert.deepEqual(texts(await latest(2)), ["6", "8"]);
    assert.deepEqual(texts(await latest(3, EVERYTHING)), ["7", "8", "9"]);
    assert.deepEqual(texts(await latest(0)), []);
    const page = await latest(1);
    assert.equal(page.kind, "complete");
    assert.equal(page.more, false, "older messages are not more to come");
    assertNext(page, log.top);
  });

  test("read() stays within the limit and says whether there is more", async ({ log }) => {
    for (let i = 0; i < 5; i++) await log.append(draft("news", i));
    const read = (limit: number) => log.read({ selector: NEWS, after: EARLIEST, limit });
    assert.deepEqual([texts(await read(4)), (await read(4)).more], [["0", "1", "2", "3"], true]);
    assert.deepEqual([(await read(5)).messages.length, (await read(5)).more], [5, false]);
    assert.deepEqual([(await read(6)).messages.length, (await read(6)).more], [5, false]);
    const none = await read(0);
    assert.deepEqual([none.messages.length, none.more, none.position.offset], [0, true, 5]);
    assert.equal((await log.read({ selector: NEWS, after: none.next, limit: ALL })).messages.length, 5);
  });

  test("read() ends a page with the message that brings it to its bytes", async ({ log }) => {
    for (let i = 0; i < 6; i++) await log.append(draft("news", String(i).repeat(100)));
    const read = async (maxBytes: number, after: Cursor = EARLIEST) => {
      const page = await log.read({ selector: NEWS, after, limit: ALL, maxBytes });
      return [texts(page).map((text) => text[0]).join(""), page.more];
    };
    assert.deepEqual(await read(1), ["0", true]);
    assert.deepEqual(await read(200), ["01", true]);
    assert.deepEqual(await read(201), ["012", true]);
    assert.deepEqual(await read(600), ["012345", false]);
    assert.deepEqual(await read(201, { kind: "latest" }), ["345", false]);
    const selector = selectPatterns(["news", "other"]);
    const page = await log.read({ selector, after: EARLIEST, limit: ALL, maxBytes: 150 });
    assert.deepEqual([page.messages.length, page.more, page.next.sequence], [
      2,
      true,
      page.messages[1]?.sequence,
    ]);
  });

  test("read() page by page calls no gap what was gone before the first page", async ({ log, clock }) => {
    for (let i = 0; i < 20; i++) await log.append(draft("calm", i));
    for (let i = 0; i < 20; i++) await log.append(draft("busy", i));
    await log.append({ ...draft("calm", "short"), ttl: 1 });
    await log.clear("busy");
    clock.advance(2_000);
    await log.append(draft("calm", "last"));
    const selector = selectPatterns(["calm", "busy"]);
    let after: Cursor = EARLIEST;
    const seen: string[] = [];
    for (let more = true; more;) {
      const page: LogPage = await log.read({ selector, after, limit: 3 });
      assert.equal(page.kind, "complete");
      seen.push(...texts(page));
      ({ more, next: after } = page);
    }
    assert.deepEqual(seen, [...Array.from({ length: 20 }, (_, i) => `${i}`), "last"]);
    const { epoch } = log.top;
    assertGap(await log.read({ selector, after: { kind: "id", epoch, sequence: 5 }, limit: 3 }));
  });

  test("read() page by page tells of what is removed between its pages, once", async ({ log }) => {
    for (let i = 0; i < 10; i++) await log.append(draft("calm", i));
    for (let i = 0; i < 10; i++) await log.append(draft("busy", i));
    const selector = selectPatterns(["calm", "busy"]);
    const first = await log.read({ selector, after: EARLIEST, limit: 3 });
    assert.equal(first.kind, "complete");
    await log.clear("busy");
    const second = await log.read({ selector, after: first.next, limit: 3 });
    assertGap(second);
    assert.deepEqual(texts(second), ["3", "4", "5"]);
    const third = await log.read({ selector, after: second.next, limit: ALL });
    assert.equal(third.kind, "complete");
    assert.deepEqual(texts(third), ["6", "7", "8", "9"]);
  });

  test("read() of a pattern or a list is in sequence order over all its channels", async ({ log }) => {
    const names = ["a/1", "b", "a/2", "c", "a/1/x", "b", "a/2", "a/1"];
    for (const [i, channel] of names.entries()) await log.append(draft(channel, i));
    const read = async (...patterns: string[]) =>
      texts(await log.read({ selector: selectPatterns(patterns), after: EARLIEST, limit: ALL }));
    assert.deepEqual(await read("a/*"), ["0", "2", "6", "7"]);
    assert.deepEqual(await read("a/**"), ["0", "2", "4", "6", "7"]);
    assert.deepEqual(await read("b", "c"), ["1", "3", "5"]);
    assert.deepEqual(await read("b", "a/*", "a/1"), ["0", "1", "2", "5", "6", "7"]);
    assert.deepEqual(await read("**"), names.map((_, i) => `${i}`));
    assert.deepEqual(await read("*"), ["1", "3", "5"]);
    const page = await log.read({ selector: selectPatterns(["b", "c"]), after: EARLIEST, limit: ALL });
    assert.deepEqual(page.position, { epoch: log.top.epoch, offset: 0 });
  });

  test("read() tells channels apart that differ in case or in characters a query could mistake", async (bench) => {
    const { log } = bench;
    const names = ["News", "news", "new_", "new.", "(new)", "new'", "NEWS", "new~s"];
    for (const name of names) await log.append(draft(name, name));
    for (const name of names) assert.deepEqual(texts(await readAll(log, name)), [name]);
  });

  for (const patterns of [["news"], ["a/*"], ["news", "a/**"], ["**"]]) {
    test(`read() page by page misses nothing of ${patterns} while it grows`, async ({ log }) => {
      const selector = selectPatterns(patterns);
      const channels = ["news", "a/1", "a/2", "b"];
      for (let i = 0; i < 40; i++) await log.append(draft(channels[i % 4]!, i));
      const seen: string[] = [];
      let after = EARLIEST;
      for (let i = 40; i < 200; i++) {
        const page = await log.read({ selector, after, limit: 3 });
        assert.equal(page.kind, "complete");
        assert.ok(page.messages.length <= 3);
        seen.push(...texts(page));
        after = page.next;
        if (!page.more) break;
        if (i < 60) await log.append(draft(channels[i % 4]!, i));
      }
      const expected = await log.read({ selector, after: EARLIEST, limit: ALL });
      assert.deepEqual(seen, texts(expected));
    });
  }

  test("read() and onStored agree: what is readable is announced and the other way round", async (bench) => {
    const { log, announced } = bench;
    const pages: Promise<LogPage>[] = [];
    const record = log.onStored;
    log.onStored = (messages) => {
      record(messages);
      assert.equal(log.top.sequence, messages.at(-1)?.sequence);
      pages.push(log.read({ selector: NEWS, after: EARLIEST, limit: ALL }));
    };
    const pending = Array.from({ length: 20 }, (_, i) => log.append(draft("news", i)));
    const early = await log.read({ selector: NEWS, after: EARLIEST, limit: ALL });
    assert.deepEqual(
      texts(early),
      announced.map((m) => payloadText(m.payload)).slice(0, early.messages.length),
    );
    await Promise.all(pending);
    await log.append(draft("news", 20));
    assert.ok(pages.length >= 2);
    const lengths = (await Promise.all(pages)).map((page) => page.messages.length);
    assertIncreasing(lengths);
    assert.equal(lengths.at(-1), 21);
  });

  test("top is the last announced id", async ({ log, announced }) => {
    assert.equal(log.top.sequence, 0);
    assert.match(log.top.epoch, /^[A-Za-z0-9]+$/, "an epoch splits from its sequence at the dash");
    const pending = log.append(draft("news", "a"));
    assert.equal(log.top.sequence, announced.length);
    await pending;
    assert.deepEqual(log.top, { epoch: announced[0]?.epoch, sequence: announced[0]?.sequence });
  });

  test("read() of a cursor the engine cannot have given is one gap, then all that is stored", async (bench) => {
    const { log, clock } = bench;
    await log.append(draft("other", "before"));
    for (const text of ["a", "b", "c", "d", "e"]) await log.append(draft("news", text));
    await log.append(draft("other", "after"));
    const { epoch, sequence } = log.top;
    const year = 365 * 24 * 3_600_000;
    const listForeign = ({ epoch, sequence } = log.top): readonly Cursor[] => [
      { kind: "id", epoch: "other", sequence: 1 },
      { kind: "id", epoch: "other", sequence },
      { kind: "id", epoch: "", sequence: 0 },
      { kind: "id", epoch, sequence: sequence + 1 },
      { kind: "id", epoch, sequence: 999_999_999_999_999 },
      { kind: "offset", offset: 0, epoch: "other" },
      { kind: "offset", offset: 3, epoch: "other" },
      { kind: "offset", offset: 999, epoch: "other" },
      { kind: "offset", offset: 6 },
      { kind: "offset", offset: 6, epoch },
      { kind: "offset", offset: 999_999_999_999_999 },
      { kind: "time", time: clock.now() + 60_000 },
      { kind: "time", time: clock.now() + 100 * year },
    ];
    const [first] = (await readAll(log, "news")).messages;
    for (const after of listForeign()) {
      const kinds: string[] = [];
      const read: string[] = [];
      for (let next: Cursor = after, more = true; more;) {
        const page = await log.read({ selector: NEWS, after: next, limit: 2 });
        kinds.push(page.kind);
        read.push(...texts(page));
        if (page.kind === "gap") assert.equal(page.earliest, formatId(epoch, first!.sequence));
        assert.deepEqual(page.position, { epoch, offset: 5 });
        ({ next, more } = page);
      }
      assert.deepEqual(read, ["a", "b", "c", "d", "e"], JSON.stringify(after));
      assert.deepEqual(kinds, ["gap", "complete", "complete"], JSON.stringify(after));

      const empty = await log.read({ selector: selectChannel("empty"), after, limit: 2 });
      assert.deepEqual([empty.messages, empty.more], [[], false]);
      assertNext(empty, { epoch, sequence });
      assertGap(empty);
      assert.equal(empty.earliest, formatId(epoch, 0), "which is of no other channel");
      if (after.kind === "offset") continue;
      const all = await log.read({ selector: EVERYTHING, after, limit: ALL });
      assertGap(all);
      assert.deepEqual(texts(all), ["before", "a", "b", "c", "d", "e", "after"]);
    }
    await log.clear("news");
    for (const after of listForeign()) {
      const page = await log.read({ selector: NEWS, after, limit: 2 });
      assertGap(page);
      assert.deepEqual([page.messages, page.more], [[], false]);
      const [, id = ""] = page.earliest.split("-");
      const next = await log.read({
        selector: NEWS,
        after: { kind: "id", epoch, sequence: Number(id) },
        limit: 2,
      });
      assert.equal(next.kind, "complete", "nothing that was ever here is after it");
    }
  });
}
