/** Parsing bodies: what is kept of the bytes that arrived, and which bytes are text. */
import assert from "node:assert/strict";
import { parseBody } from "../../lib/http/body.ts";

const BYTES = new Headers({ "content-type": "application/octet-stream" });
const TEXT = new Headers({ "content-type": "text/plain" });

Deno.test("parseBody() keeps a copy of a view, which would keep all alive that arrived with it", () => {
  const arrived = new TextEncoder().encode("POST / it rains");
  const { payload } = parseBody(arrived.subarray(7), BYTES);
  assert.ok(payload.kind === "bytes");
  assert.equal(payload.bytes.buffer.byteLength, 8);
  arrived.fill(0);
  assert.equal(new TextDecoder().decode(payload.bytes), "it rains");
});

Deno.test("parseBody() does not copy what is whole", () => {
  const bytes = Uint8Array.of(1, 2, 3);
  const { payload } = parseBody(bytes, BYTES);
  assert.ok(payload.kind === "bytes" && payload.bytes === bytes);
});

for (const text of ["it rains", "", "\ufeffit rains", "Zürich 😀", "\0"]) {
  Deno.test(`parseBody() decodes ${JSON.stringify(text)} as it is, from a view too`, () => {
    const bytes = new TextEncoder().encode(`<${text}>`);
    const { payload } = parseBody(bytes.subarray(1, -1), TEXT);
    assert.deepEqual(payload, { kind: "text", text });
  });
}

for (const hex of ["ff", "c080", "eda080", "f4908080", "e282", "80"]) {
  Deno.test(`parseBody() refuses the bytes ${hex}, which are no UTF-8, as text`, () => {
    assert.throws(() => parseBody(Uint8Array.fromHex(hex), TEXT), { code: "bad_body" });
  });
}
