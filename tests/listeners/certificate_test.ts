/** Certificates: what is wrong with one is said at start, and both listeners serve https and wss with a good one. */
import assert from "node:assert/strict";
import { parseCertificate } from "../../lib/listeners/mod.ts";
import { createCertificate } from "../certificate.ts";
import { startServer } from "../server_process.ts";
import { TestSocket } from "../test_socket.ts";

Deno.test("parseCertificate() names the file that is at fault, and repeats nothing of it", async () => {
  await using good = await createCertificate();
  await using other = await createCertificate();
  const { validUntil } = parseCertificate(good.cert, good.key);
  assert.ok(validUntil.getTime() > Date.now());
  const cases: readonly [string, string, RegExp][] = [
    ["nonsense", good.key, /^SyntaxError: --cert holds no certificate/],
    [good.key, good.key, /^SyntaxError: --cert holds no certificate/],
    [good.cert, "nonsense", /^SyntaxError: --key holds no private key/],
    [good.cert, good.cert, /^SyntaxError: --key holds no private key/],
    [good.cert, other.key, /^SyntaxError: The key of --key is not the one of the certificate/],
  ];
  for (const [cert, key, expected] of cases) {
    assert.throws(() => parseCertificate(cert, key), (error) => expected.test(`${error}`));
  }
});

for (const listener of ["deno", "node"]) {
  Deno.test(`${listener} listener: a certificate makes it serve https and wss, streams too`, async () => {
    await using certificate = await createCertificate();
    await using server = await startServer({ flags: [...certificate.flags, "--listener", listener] });
    assert.equal(server.lines[0], `Raindrops is live: open ${server.url}/`);
    assert.match(server.url, /^https:/);
    using client = Deno.createHttpClient({ caCerts: [certificate.cert] });
    await using socket = await TestSocket.open(`${server.socketUrl}/news`, { client });
    const stream = await fetch(`${server.url}/news`, { client, headers: { accept: "text/event-stream" } });
    // More than one record of TLS holds.
    const body = "it rains ".repeat(5_000);
    const published = await fetch(`${server.url}/news?event=rain`, { client, method: "POST", body });
    assert.equal((await published.json()).subscribers, 2);
    assert.equal(await socket.next(), body);
    socket.send("back");
    let streamed = "";
    const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
    while (!streamed.includes("data: back\n")) {
      streamed += (await reader.read()).value ?? assert.fail("ended");
    }
    assert.ok(streamed.includes(`data: ${body}\n`));
    await reader.cancel();
    await assert.rejects(fetch(`${server.url}/news`), "the certificate was not checked");
    const plain = await fetch(server.url.replace("https", "http")).catch(() => undefined);
    assert.notEqual(plain?.status, 200);
    await plain?.body?.cancel();
    // Whoever speaks no TLS harms nobody.
    const again = await fetch(`${server.url}/news`, { client, method: "POST", body: "still here" });
    assert.equal((await again.json()).offset, 3);
  });
}

Deno.test("A certificate that cannot be read is one clear line, one that has expired a warning", async () => {
  await using certificate = await createCertificate(new Date(86_400_000));
  const missing = startServer({ flags: ["--cert", "/nowhere.pem", "--key", "/nowhere.pem"] });
  await assert.rejects(missing, /error: There is no file \/nowhere\.pem, which --cert names$/);
  const alone = startServer({ flags: certificate.flags.slice(0, 2) });
  await assert.rejects(alone, /give both --cert and --key/);
  await using server = await startServer({ flags: certificate.flags });
  assert.match(await server.line(/^warn/), /--cert has expired on 1970-01-02/);
});
