/** Quoting foreign text: what a message may show of it. */
import assert from "node:assert/strict";
import { quote } from "../../lib/base/quote.ts";

Deno.test("quote() escapes what could break a line, and cuts after 60 characters", () => {
  assert.equal(quote('a "b"\n'), '"a \\"b\\"\\n"');
  assert.equal(quote("x".repeat(60)), `"${"x".repeat(60)}"`);
  assert.equal(quote("x".repeat(61)), `"${"x".repeat(60)}..."`);
});

Deno.test("quote() is well-formed where the cut parts a surrogate pair", () => {
  assert.ok(quote("x".repeat(59) + "🌧️").isWellFormed());
});
