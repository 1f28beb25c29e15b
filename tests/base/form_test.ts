import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeFormText, splitForm } from "../../lib/base/form.ts";

Deno.test("splitForm() and decodeFormText() read what URLSearchParams writes", () => {
  const text = fc.string({ unit: "grapheme" });
  fc.assert(fc.property(fc.array(fc.tuple(text, text)), (pairs) => {
    const unique = new Map(pairs);
    const fields = splitForm(new URLSearchParams([...unique]).toString(), () => true);
    assert.deepEqual(new Map([...fields].map(([name, value]) => [name, decodeFormText(value)])), unique);
  }));
});

Deno.test("decodeFormText() refuses what is not UTF-8, and takes a percent sign that begins nothing", () => {
  for (const encoded of ["caf%E9", "%ed%a0%80", "%c3", "%ff%41"]) {
    assert.throws(() => decodeFormText(encoded), SyntaxError, encoded);
  }
  assert.equal(decodeFormText("100%"), "100%");
  assert.equal(decodeFormText("5%+of%20%zz"), "5% of %zz");
});

Deno.test("splitForm() takes the first of repeated fields, and keeps no more than it is asked to", () => {
  const fields = splitForm("a=1&b&a=2&&c=3", (_name, kept) => kept < 2);
  assert.deepEqual([...fields], [["a", "1"], ["b", ""]]);
});
