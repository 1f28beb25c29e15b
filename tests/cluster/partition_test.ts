/** A node cut off from JetStream, and one that starts before it: what it refuses, what goes on, and how it heals. */
import assert from "node:assert/strict";
import { TcpProxy } from "../fakes/tcp_proxy.ts";
import { NATS_SERVER, NatsCluster } from "../nats_cluster.ts";
import { startServer } from "../server_process.ts";
import { TestSocket } from "../test_socket.ts";
import { getPresence, post, waitForPresence } from "./nodes.ts";

const ignore = NATS_SERVER === undefined;

/** Posts until it is acknowledged, and checks that every refusal is one that asks to come again. */
async function postUntilStored(url: string, text: string): Promise<void> {
  while (true) {
    const { status, headers } = await post(url, text);
    if (status === 200) return;
    assert.deepEqual([status, headers.has("retry-after")], [503, true]);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

Deno.test(
  { name: "A node cut off from the others keeps its sockets, refuses messages and heals", ignore },
  async () => {
    await using nats = await NatsCluster.start(1);
    await using network = new TcpProxy(nats.servers[0]!.port);
    const flags = (
      port: number,
      name: string,
    ) => ["--engine", `nats://127.0.0.1:${port}`, "--node-name", name];
    await using a = await startServer({ flags: flags(nats.servers[0]!.port, "a") });
    await using b = await startServer({ flags: flags(network.port, "b") });
    await b.line(/node found .*nodes=2/);
    await using near = await TestSocket.open(`${a.socketUrl}/news?id=near`);
    await using far = await TestSocket.open(`${b.socketUrl}/news?id=far`);
    await waitForPresence([a, b], "news", 2);
    await postUntilStored(`${b.url}/news`, "before");
    assert.deepEqual([await near.next(), await far.next()], ["before", "before"]);

    network.cut();
    // Whoever is cut off cannot know whether the message was stored, and says so.
    const refused = await post(`${b.url}/news`, "refused");
    assert.deepEqual([refused.status, refused.headers.has("retry-after")], [503, true]);
    assert.equal((await fetch(`${b.url}/readyz`).then((r) => (r.body?.cancel(), r))).status, 503);
    await postUntilStored(`${a.url}/news`, "meanwhile");
    assert.equal(await near.next(), "meanwhile");
    far.send("/who");
    assert.match(String(await far.next()), /far/);
    await a.line(/node gone .*name=b reason=silent/);
    assert.deepEqual(await getPresence(a.url, "news"), ["near"]);

    network.refuses = false;
    await postUntilStored(`${b.url}/news`, "after");
    assert.equal(await far.next(), "meanwhile");
    assert.equal(await far.next(), "after");
    assert.equal(await near.next(), "after");
    await waitForPresence([a], "news", 2);
    assert.deepEqual(await getPresence(a.url, "news"), ["far", "near"]);
    assert.deepEqual(await getPresence(b.url, "news"), ["far", "near"]);
  },
);

Deno.test(
  { name: "A node that starts before JetStream says so, waits, and is ready when it comes", ignore },
  async () => {
    await using nats = await NatsCluster.start(1);
    const [server] = nats.servers;
    assert(server !== undefined);
    await server.kill();
    await using node = await startServer({ flags: ["--engine", `nats://127.0.0.1:${server.port}`] });
    await node.line(/engine cannot be reached, trying again .*reason="connection refused"/);
    const ready = await fetch(`${node.url}/readyz`);
    assert.equal(ready.status, 503);
    await ready.body?.cancel();
    await using early = await TestSocket.open(`${node.socketUrl}/news`);
    await server.start();
    // What other nodes stored meanwhile was not announced here: it must reconnect, and resume.
    assert.equal((await early.closed).code, 1013);
    await using socket = await TestSocket.open(`${node.socketUrl}/news`);
    await postUntilStored(`${node.url}/news`, "at last");
    assert.equal(await socket.next(), "at last");
  },
);
