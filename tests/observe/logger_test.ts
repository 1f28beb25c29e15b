/** The server log's lines: what people read, what machines read, and that no message can forge one. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatJson, formatText, LineLogger } from "../../lib/observe/logger.ts";

Deno.test("formatText() writes an event and its fields on one line", () => {
  const fields = { id: "id1", name: "John Doe", channel: "a/b", code: undefined };
  assert.equal(
    formatText("info", "client connected", fields),
    'client connected id=id1 name="John Doe" channel=a/b',
  );
  assert.equal(
    formatText("warn", "request refused", { code: "too_large" }),
    "warn: request refused code=too_large",
  );
});

Deno.test("formatText() cuts data at 100 characters and escapes control characters", () => {
  assert.equal(
    formatText("info", "message received", { channel: "x", data: "it rains" }),
    "message received: it rains",
  );
  const long = formatText("info", "message received", { data: "a".repeat(200) });
  assert.equal(long, `message received: ${"a".repeat(99)}…`);
  const hostile = formatText("info", "message received", { data: "a\nclient connected\t\u001b[31m\u202e" });
  assert.equal(hostile, "message received: a\\nclient connected\\t\\u001b[31m\\u202e");
});

Deno.test("formatText() and formatJson() write one line, whatever the fields hold", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (name, data) => {
    for (const fields of [{ name }, { data }]) {
      assert.doesNotMatch(formatText("info", "event", fields), /[\p{Cc}\u2028\u2029]/u);
      assert.equal(formatJson("info", "event", fields).split("\n").length, 1);
    }
  }));
});

Deno.test("formatJson() writes an object with time, level, event and fields", () => {
  const { time, ...others } = JSON.parse(
    formatJson("error", "request failed", { reason: "x", code: undefined }),
  );
  assert.ok(!Number.isNaN(Date.parse(time)));
  assert.deepEqual(others, { level: "error", event: "request failed", reason: "x" });
});

Deno.test("LineLogger.write() writes the lines of one turn at once, from its level on", async () => {
  const written: string[] = [];
  const logger = new LineLogger({ format: "text", level: "info", write: (text) => written.push(text) });
  logger.write("info", "one");
  logger.write("debug", "hidden");
  logger.write("error", "two");
  assert.deepEqual(written, []);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(written, ["one\nerror: two\n"]);
});

Deno.test("LineLogger.write() gathers the lines of a busy server, until one is urgent", async () => {
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const written: string[] = [];
  let hear = (_text: string) => {};
  const write = (text: string) => {
    written.push(text);
    hear(text);
  };
  const logger = new LineLogger({ format: "text", level: "info", write });
  logger.write("info", "first");
  await turn();
  assert.deepEqual(written, ["first\n"]);
  logger.write("info", "second");
  await turn();
  logger.write("info", "third");
  logger.write("warn", "urgent");
  await turn();
  assert.deepEqual(written.slice(1), ["second\nthird\nwarn: urgent\n"]);
  const later = new Promise<string>((resolve) => hear = resolve);
  logger.write("info", "fourth");
  assert.equal(await later, "fourth\n");
  assert.equal(written.length, 3);
});

Deno.test("LineLogger.announce() writes at every level", () => {
  const written: string[] = [];
  const logger = new LineLogger({ format: "text", level: "error", write: (text) => written.push(text) });
  logger.announce("Raindrops is live");
  logger.flush();
  assert.deepEqual(written, ["Raindrops is live\n"]);
});

Deno.test("LineLogger writes no credential, in either format, whoever logs it", () => {
  for (const format of ["text", "json"] as const) {
    let written = "";
    const write = (lines: string) => void (written += lines);
    const logger = new LineLogger({ format, level: "info", write, secrets: ["hunter2-and-more"] });
    const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";
    logger.write("warn", "request refused", { reason: `No such thing: /news?token=${token}` });
    logger.write("info", "message received", { data: `{"token":"${token}"}` });
    logger.write("error", "request failed", { reason: "Authorization: apikey hunter2-and-more" });
    logger.write("error", "hunter2-and-more");
    logger.flush();
    assert.equal(written.split("\n").length, 5);
    assert.doesNotMatch(written, /eyJ|hunter2/);
    if (format === "json") { for (const line of written.trimEnd().split("\n")) JSON.parse(line); }
  }
});

Deno.test("Log lines escape whatever could break or reorder them, as text and as JSON", () => {
  const controls = [
    ...Array.from({ length: 32 }, (_, i) => i),
    ...Array.from({ length: 33 }, (_, i) => 0x7f + i),
    ...[0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e],
    ...[0x2066, 0x2067, 0x2068, 0x2069],
  ].filter((code) => code < 0xa0 || code > 0x100).map((code) => String.fromCharCode(code));
  for (const control of controls) {
    const text = `before${control}after`;
    for (const fields of [{ data: text }, { reason: text, name: text }]) {
      const json = formatJson("info", "message received", fields);
      for (const line of [json, formatText("warn", "message received", fields)]) {
        assert.ok(
          !line.includes(control),
          `U+${control.charCodeAt(0).toString(16)} in ${JSON.stringify(line)}`,
        );
        assert.match(line, /before\\[nrtbfu0-9a-f]+after/);
      }
      const { time: _time, level: _level, event: _event, ...read } = JSON.parse(json);
      assert.deepEqual(read, fields);
    }
  }
});
