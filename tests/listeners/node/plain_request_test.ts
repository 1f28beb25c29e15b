/** The Request and Response of the plain path are to the app what those of the platform are. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { parsePlainHead } from "../../../lib/listeners/node/plain_head.ts";
import { createPlainRequest } from "../../../lib/listeners/node/plain_request.ts";
import { createPlainResponse, PlainResponse } from "../../../lib/listeners/node/plain_response.ts";

const FIELDS = "Content-Type: text/plain\r\nX-A: b\r\nx-a: c, d\r\n";

function makeBoth(target = "/news", host = "localhost"): { plain: Request; real: Request } {
  const text = `POST ${target} HTTP/1.1\r\nHost: ${host}\r\n${FIELDS}Content-Length: 8\r\n\r\nit rains`;
  const bytes = Buffer.from(text);
  const head = parsePlainHead(bytes)!;
  const body = bytes.subarray(head.start, head.end);
  const init = { method: "POST", headers: head.headers, body: new Uint8Array(body) };
  return {
    plain: createPlainRequest(head, body, "http"),
    real: new Request(`http://${host}${target}`, init),
  };
}

Deno.test("A plain request has the members of a Request", () => {
  const { plain, real } = makeBoth();
  assert.ok(plain instanceof Request);
  assert.ok(plain.headers instanceof Headers);
  for (const name of ["method", "url", "bodyUsed", "redirect", "cache", "mode", "keepalive"] as const) {
    assert.equal(plain[name], real[name], name);
  }
  for (const name of ["content-type", "X-A", "host", "Content-Length", "origin"]) {
    assert.equal(plain.headers.get(name), real.headers.get(name), name);
    assert.equal(plain.headers.has(name), real.headers.has(name), name);
  }
  assert.deepEqual([...plain.headers], [...real.headers]);
  assert.equal(plain.headers.get("x-a"), real.headers.get("x-a"));
  assert.equal(plain.signal.aborted, false);
});

for (
  const [target, host] of [
    ["/a/../b?x=/../y", "localhost"],
    ["/a/%2e%2E/./b", "LOCALHOST:80"],
    ["/.hidden/..", "127.1:8000"],
    ["/%41%c3%a9?a=b&c=%20:@", "[::1]:80"],
    ["//x", "a.b"],
  ] as const
) {
  Deno.test(`A plain request for ${target} on ${host} has the URL of a Request`, () => {
    const { plain, real } = makeBoth(target, host);
    assert.equal(plain.url, real.url);
  });
}

Deno.test("A plain request for a host that is none is refused, as by a Request", () => {
  assert.throws(() => makeBoth("/news", "1.2.3.4.5:99999"), TypeError);
});

for (const read of ["bytes", "text", "arrayBuffer"] as const) {
  Deno.test(`The body of a plain request is read once, by ${read}()`, async () => {
    const { plain, real } = makeBoth();
    assert.deepEqual(await plain[read](), await real[read]());
    assert.equal(plain.bodyUsed, true);
    await assert.rejects(plain.bytes(), TypeError);
    await assert.rejects(plain.text(), TypeError);
  });
}

Deno.test("The bytes of a plain request are the platform's: a Buffer's methods of the same names do otherwise", async () => {
  const bytes = await makeBoth().plain.bytes();
  assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype);
  assert.notEqual(bytes.slice().buffer, bytes.buffer);
});

Deno.test("The body of a plain request is a stream for whoever wants that, and a clone is its own", async () => {
  const { plain } = makeBoth();
  const clone = plain.clone();
  assert.equal(await new Response(plain.body).text(), "it rains");
  assert.equal(await clone.text(), "it rains");
});

Deno.test("A plain response is a Response for whoever looks into it", async () => {
  const headers = { "content-type": "application/json" };
  const plain = createPlainResponse("{}", headers);
  const real = new Response("{}", { headers });
  assert.ok(plain instanceof Response && PlainResponse.is(plain));
  assert.ok(!PlainResponse.is(real));
  assert.equal(plain.isPlain, true);
  assert.equal(plain.status, real.status);
  assert.equal(plain.ok, true);
  assert.deepEqual([...plain.headers], [...real.headers]);
  assert.equal(plain.isPlain, false);
  assert.equal(await new Response(plain.body).text(), "{}");
});
