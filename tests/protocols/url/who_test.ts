/** `/who` of plain sockets where the client who has come is on another thread, which has not told of it yet. */
import assert from "node:assert/strict";
import { selectChannel } from "../../../lib/core/channel.ts";
import type { SocketHandler } from "../../../lib/core/socket.ts";
import type { Services } from "../../../lib/protocols/protocol.ts";
import { openPlainSession } from "../../../lib/protocols/url/plain.ts";
import type { SessionRequest } from "../../../lib/protocols/url/session.ts";
import { type FakeNode, FakeNodes, read } from "../../fakes/nodes.ts";
import { settle } from "../../fakes/schedule.ts";
import { FakeSocket } from "../../fakes/socket.ts";

function open({ hub, logger }: FakeNode): { readonly session: SocketHandler; readonly socket: FakeSocket } {
  const services = {
    hub,
    logger,
    settings: { maxMessageBytes: 1_000 },
    outboxLimits: { messages: 10_000, bytes: 1_000_000 },
  };
  const request = {
    selector: selectChannel("news"),
    id: "ann",
    choseId: false,
    connection: { countPublish: () => {} },
    pass: { expires: 0, deny: () => undefined, asks: () => false },
  };
  const session = openPlainSession(services as unknown as Services, request as unknown as SessionRequest);
  const socket = new FakeSocket();
  session.open(socket);
  return { session, socket };
}

function startThreads(): { readonly nodes: FakeNodes; readonly one: FakeNode; readonly other: FakeNode } {
  const nodes = new FakeNodes();
  nodes.start(undefined, "n1");
  const [one, other] = [nodes.start(undefined, "n1"), nodes.start(undefined, "n1")];
  nodes.settle();
  return { nodes, one, other };
}

Deno.test("/who names whoever another thread has not told of yet, and later answers come behind it", async () => {
  const { nodes, one, other } = startThreads();
  const { session, socket } = open(one);
  read(other, "news", { id: "bob" });
  session.message("/who");
  session.message("/time");
  assert.deepEqual(socket.texts, []);
  while (nodes.network.waiting > 0) nodes.network.deliver();
  await settle();
  while (nodes.network.waiting > 0) nodes.network.deliver();
  await settle();
  assert.equal(socket.texts[0], "ann, bob");
  assert.match(socket.texts[1] ?? "", /^\d{4}-.*Z$/);
  session.message("/time");
  assert.equal(socket.texts.length, 3, "at once, as nothing is waited for");
  session.close(1000, "");
});

Deno.test("/who is not answered to a socket that has closed meanwhile", async () => {
  const { nodes, one } = startThreads();
  const { session, socket } = open(one);
  session.message("/who");
  session.close(1000, "");
  nodes.settle();
  await settle();
  nodes.settle();
  await settle();
  assert.deepEqual(socket.texts, []);
});

Deno.test("A socket that asks /who without end while other threads are silent is closed", () => {
  const { nodes, one } = startThreads();
  const { session, socket } = open(one);
  for (let i = 0; i <= 1_000; i++) session.message("/who");
  assert.equal(socket.closed?.code, 1013);
  for (const node of nodes.alive) nodes.stop(node);
});

Deno.test("/who is answered at once on a server without threads", () => {
  const { session, socket } = open(new FakeNodes().start());
  session.message("/who");
  assert.deepEqual(socket.texts, ["ann"]);
  session.close(1000, "");
});
