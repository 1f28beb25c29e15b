/** What is published between the answer to a WebSocket's handshake and the event that it is open. */
import assert from "node:assert/strict";
import { selectChannel, type Selector, selectPatterns } from "../../../lib/core/channel.ts";
import { Hub } from "../../../lib/core/hub.ts";
import { Limits } from "../../../lib/core/limits.ts";
import { Rules } from "../../../lib/core/rules.ts";
import type { SocketHandler } from "../../../lib/core/socket.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import type { Services } from "../../../lib/protocols/protocol.ts";
import { EarlyMessages } from "../../../lib/protocols/url/early.ts";
import { openPlainSession } from "../../../lib/protocols/url/plain.ts";
import type { SessionRequest } from "../../../lib/protocols/url/session.ts";
import { createDraft, createMessage } from "../../fakes/message.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { settle } from "../../fakes/schedule.ts";
import { FakeSocket } from "../../fakes/socket.ts";

const NO_LIMIT = { value: Infinity, sparesLoopback: false };

/** A hub, and the handshake of a socket on it that has been answered and is not open yet. */
function answer(selector: Selector, options: Partial<SessionRequest> = {}) {
  const rules = new Rules();
  const log = new MemoryEngine({ rules });
  const hub = new Hub({ log, rules, logger: new RecordingLogger(), maxMessageBytes: 1_000 });
  const limits = new Limits({
    maxConnections: 10,
    maxConnectionsPerAddress: NO_LIMIT,
    maxPublishRate: NO_LIMIT,
    maxPublishRatePerAddress: NO_LIMIT,
    publishBurst: 1,
  });
  const services = { hub, outboxLimits: { messages: 10_000, bytes: 1_000_000 } } as unknown as Services;
  const request = {
    selector,
    id: "ann",
    choseId: false,
    connection: limits.connect("192.0.2.1"),
    ...options,
  };
  const early = new EarlyMessages(hub, selector);
  const session: SocketHandler = openPlainSession(
    services,
    { pass: { expires: 0 }, ...request } as unknown as SessionRequest,
    early,
  );
  return { hub, session, early };
}

Deno.test("A plain socket gets first what was published before it was open, then what comes", async () => {
  for (const selector of [selectChannel("news"), selectPatterns(["news", "more"]), selectPatterns(["*"])]) {
    const { hub, session } = answer(selector);
    await hub.publish(createDraft("one"));
    await hub.publish(createDraft("elsewhere", { channel: "other/channel" }));
    await hub.publish(createDraft("passing", { ephemeral: true }));
    const socket = new FakeSocket();
    session.open(socket);
    await hub.publish(createDraft("two"));
    assert.deepEqual(socket.texts, ["one", "passing", "two"]);
    session.close(1000, "");
  }
});

Deno.test("A plain socket that replays gets nothing twice, and one with a limit no more than that", async () => {
  const replaying = answer(selectChannel("news"), { since: { kind: "earliest" } });
  const limited = answer(selectChannel("news"), { limit: 1 });
  for (const { hub, session } of [replaying, limited]) {
    await hub.publish(createDraft("one"));
    await hub.publish(createDraft("two"));
    const socket = new FakeSocket();
    session.open(socket);
    await settle();
    await hub.publish(createDraft("three"));
    assert.deepEqual(socket.texts, hub === limited.hub ? ["one"] : ["one", "two", "three"]);
    session.close(1000, "");
  }
});

Deno.test("Early messages are those that the socket may get, so many at most, and none once it is open or gone", async () => {
  const selector = { ...selectPatterns(["*"]), hides: (channel: string) => channel === "hidden" };
  const { hub, session, early } = answer(selector);
  hub.deliver([
    createMessage("1"),
    createMessage("2", { channel: "hidden" }),
    createMessage("3", { to: "bob" }),
  ]);
  assert.deepEqual(early.messages?.map(({ payload }) => payload), [{ kind: "text", text: "1" }]);
  session.close(1006, "");
  hub.deliver([createMessage("4")]);
  assert.equal(early.messages?.length, 1);
  const { hub: busy, session: late } = answer(selectChannel("news"));
  busy.deliver(Array.from({ length: 2_000 }, (_, i) => createMessage(`${i}`)));
  const socket = new FakeSocket();
  late.open(socket);
  assert.equal(socket.closed?.code, 1013);
  assert.deepEqual([busy.clientCount, socket.texts], [0, []]);
  await settle();
});
