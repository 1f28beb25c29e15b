/** Clients that are refused, or hang up, before CONNACK: their wills and sessions, and the will that waited for them. */
import assert from "node:assert/strict";
import { createApp, OPENERS } from "../../../lib/app.ts";
import { MemoryState } from "../../../lib/core/memory_state.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import { FakeNetwork } from "../../fakes/bus.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { settle } from "../../fakes/schedule.ts";
import { createClient } from "../../fakes/socket.ts";
import { createConfig } from "../../test_app.ts";
import { RawClient } from "./app.ts";

/** Notes which sessions are written. */
class NotedState extends MemoryState {
  readonly sessions: string[] = [];

  override async write(key: string, value: string, revision: number): Promise<number | undefined> {
    if (key.startsWith("mqtt-session-")) this.sessions.push(key);
    return await super.write(key, value, revision);
  }

  async listWills(): Promise<string[]> {
    const items = await Array.fromAsync(this.list("mqtt-will-"));
    return items.map(({ value }) => JSON.parse(value).draft.channel as string);
  }
}

async function startNode(state: MemoryState) {
  const logger = new RecordingLogger();
  const bus = new FakeNetwork().connect();
  const openEngine = () =>
    Promise.resolve(Object.assign(new MemoryEngine({ rules: new Rules() }), { bus, state }));
  const config = createConfig("--mqtt-port", "0", "--workers", "1");
  const app = await createApp(config, logger, undefined, { ...OPENERS, openEngine });
  const [fields] = logger.find("listening for mqtt");
  const mqttPort = Number(fields?.port);
  const published: string[] = [];
  app.hub.observe((messages) => published.push(...messages.map(({ channel }) => channel)), "delivered");
  return {
    app,
    published,
    async connect(hex: string): Promise<RawClient> {
      const client = await RawClient.open({ mqttPort } as Parameters<typeof RawClient.open>[0]);
      await client.send(hex);
      return client;
    },
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  };
}

/** CONNECT of "lamp" in 5.0 with a session of 600 s and the will "x" for "a", without a delay. */
const CONNECT = "101d0004 4d515454 05 04 003c 05 11 00000258 0004 6c616d70 00 0001 61 0001 78";

/** The reason code of CONNACK; undefined where the connection ends without one. */
async function readConnack(client: RawClient): Promise<number | undefined> {
  const head = await client.read(2);
  if (head === "") return undefined;
  assert.equal(head.slice(0, 2), "20");
  return parseInt((await client.read(parseInt(head.slice(2), 16))).slice(2, 4), 16);
}

Deno.test("A client that is refused as its id is taken has no will, and its session is not stored again", async () => {
  const state = new NotedState();
  await using node = await startNode(state);
  node.app.hub.connect(createClient({ id: "lamp", address: "192.0.2.1" }));
  using client = await node.connect(CONNECT);
  assert.equal(await readConnack(client), 0x85);
  assert.equal(await client.readAll(), "");
  await settle();
  assert.deepEqual(await state.listWills(), []);
  await node.app[Symbol.asyncDispose]();
  assert.deepEqual(node.published, []);
  assert.equal(state.sessions.length, 1, "it was claimed before CONNACK, and not written after it");
});
