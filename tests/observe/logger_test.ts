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
