/** The forms in which publishers say when a message is to be published. */
import assert from "node:assert/strict";
import { MessagingError } from "../../../lib/core/errors.ts";
import { parseWhen } from "../../../lib/core/schedule/when.ts";

Deno.test("parseWhen() reads durations and times", () => {
  const delays: readonly [unknown, number][] = [
    [5, 5_000],
    ["0", 0],
    ["1.5", 1_500],
    ["30s", 30_000],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
    ["0.5h", 1_800_000],
  ];
  for (const [delay, milliseconds] of delays) {
    assert.deepEqual(parseWhen(undefined, delay), { kind: "delay", milliseconds }, String(delay));
  }
  const noon = Date.UTC(2026, 0, 31, 12);
  const times = [
    "2026-01-31T12:00:00Z",
    "2026-01-31T14:00:00+02:00",
    "2026-01-31T14:00:00 02:00",
    noon / 1_000,
  ];
  for (const at of times) assert.deepEqual(parseWhen(at, undefined), { kind: "at", time: noon }, String(at));
  assert.equal(parseWhen(undefined, undefined), undefined);
});

Deno.test("parseWhen() refuses what may be misunderstood, and says what to write", () => {
  const bad: readonly [unknown, unknown, RegExp][] = [
    ["2026-01-31T12:00:00Z", "5m", /not both/],
    ["2026-01-31T12:00:00", undefined, /zone/],
    ["2026-02-31T12:00:00Z", undefined, /zone/],
    ["2026-02-28T12:00:61Z", undefined, /zone/],
    ["tomorrow", undefined, /zone/],
    ["", undefined, /zone/],
    ["1769860800000", undefined, /seconds since 1970/],
    ["5", undefined, /seconds since 1970/],
    [undefined, "-5", /30s/],
    [undefined, "5 m", /30s/],
    [undefined, "5w", /30s/],
    [undefined, "", /30s/],
    [undefined, "1e3", /30s/],
    [undefined, "NaN", /30s/],
  ];
  for (const [at, delay, pattern] of bad) {
    assert.throws(() => parseWhen(at, delay), (error: unknown) => {
      assert.ok(error instanceof MessagingError);
      assert.equal(error.code, "bad_option");
      assert.match(error.message, pattern);
      return true;
    }, `${at} ${delay}`);
  }
});
