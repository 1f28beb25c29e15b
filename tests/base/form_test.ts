import assert from "node:assert/strict";
import fc from "fast-check";
import { createFieldPattern, decodeFormText, splitForm } from "../../lib/base/form.ts";

Deno.test("splitForm() and decodeFormText() read what URLSearchParams writes", () => {
  const text = fc.string({ unit: "grapheme" });
  fc.assert(fc.property(fc.array(fc.tuple(text, text)), (pairs) => {
    const unique = new Map(pairs);
    const fields = splitForm(new URLSearchParams([...unique]).toString(), pairs.length + 1);
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

Deno.test("splitForm() takes the first of repeated fields, and no more than it is told", () => {
  assert.deepEqual([...splitForm("a=1&b&a=2&&%63=3", 5)], [["a", "1"], ["b", ""], ["c", "3"]]);
  assert.throws(() => splitForm("a=1&b&a=2&&%63=3", 4), /at most 4 fields: encode an & in a value as %26/);
});

Deno.test("createFieldPattern() finds a field wherever and however it is written, and no other", () => {
  const pattern = createFieldPattern("data");
  for (const form of ["data", "data=", "data=1", "a=1&data=2", "a&&data", "d%61t%61=1&b", "%64%61%74%61=x"]) {
    assert.match(form, pattern);
    assert.ok(splitForm(form, 9).has("data"), form);
  }
  for (const form of ["", "a=data", "mydata=1", "data2=1", "a=1&Data=2", "d=a&t=a", "d%41ta=1", "da%74"]) {
    assert.doesNotMatch(form, pattern);
    assert.ok(!splitForm(form, 9).has("data"), form);
  }
});
