/** What clients may call themselves. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  MAX_CLIENT_ID_LENGTH,
  MAX_CLIENT_NAME_LENGTH,
  parseClientId,
  parseClientName,
} from "../../lib/core/client.ts";

Deno.test("parseClientId() accepts what stands in a URL path segment as it is", () => {
  for (
    const id of [
      "id1",
      "a",
      "john@example.org",
      "x".repeat(MAX_CLIENT_ID_LENGTH),
      crypto.randomUUID(),
      "A_-=.:~",
    ]
  ) {
    assert.equal(parseClientId(id), id);
    assert.equal(new URL(`http://localhost/@${id}`).pathname, `/@${id}`);
  }
});

Deno.test("parseClientId() refuses everything else", () => {
  for (const id of ["", "a/b", "a b", "a%20", "a?", "a#", "é", "a\n", "\n", "a,b", "x".repeat(101)]) {
    assert.throws(() => parseClientId(id), SyntaxError, JSON.stringify(id));
  }
  fc.assert(fc.property(fc.string({ unit: "binary" }), (id) => {
    try {
      assert.match(parseClientId(id), /^[\x21-\x7e]{1,100}$/);
    } catch (error) {
      assert.ok(error instanceof SyntaxError);
    }
  }));
});

Deno.test("parseClientName() accepts any script and refuses control characters", () => {
  for (const name of ["John", "Zoë 🌧", "<b>", "נועה", "x".repeat(MAX_CLIENT_NAME_LENGTH)]) {
    assert.equal(parseClientName(name), name);
  }
  for (const name of ["", "a\nb", "a\0", "\u001b[31m", "\u007f", "\u0085", "x".repeat(101)]) {
    assert.throws(() => parseClientName(name), SyntaxError, JSON.stringify(name));
  }
});
