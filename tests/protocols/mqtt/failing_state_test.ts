/** What a client meets when the engine fails to store its session for a moment. */
import assert from "node:assert/strict";
import { type EventEmitter, once } from "node:events";
import { createApp, OPENERS } from "../../../lib/app.ts";
import { MessagingError } from "../../../lib/core/errors.ts";
import { MemoryState } from "../../../lib/core/memory_state.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { createConfig } from "../../test_app.ts";
import { connectTo } from "./app.ts";

/** Fails to write one session when it is told to. */
class FailingState extends MemoryState {
  failsOnce = false;

  override write(key: string, value: string, revision: number): Promise<number | undefined> {
    if (!this.failsOnce || !key.startsWith("mqtt-session-")) return super.write(key, value, revision);
    this.failsOnce = false;
    return Promise.reject(new MessagingError("log_unavailable", "The engine is away"));
  }
}

async function startApp(state: MemoryState) {
  const logger = new RecordingLogger();
  const openEngine = () =>
    Promise.resolve(Object.assign(new MemoryEngine({ rules: new Rules() }), { state }));
  const config = createConfig("--mqtt-port", "0", "--workers", "1");
  const app = await createApp(config, logger, undefined, { ...OPENERS, openEngine });
  const [fields] = logger.find("listening for mqtt");
  return {
    url: `mqtt://127.0.0.1:${fields?.port}`,
    hub: app.hub,
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  };
}

for (const protocolVersion of [4, 5] as const) {
  Deno.test(`MQTT ${protocolVersion}: a client whose session cannot be stored with a message is ended, and gets it when it is back`, async () => {
    const state = new FailingState();
    await using app = await startApp(state);
    const properties = protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {};
    const session = { clientId: "reader", clean: false, protocolVersion, ...properties };
    const post = (text: string) =>
      app.hub.publish({ channel: "news", payload: { kind: "text", text }, properties: { qos: 2 } });
    {
      await using reader = await connectTo(app.url, session);
      await reader.client.subscribeAsync("news", { qos: 2 });
      state.failsOnce = true;
      const closed = once(reader.client as unknown as EventEmitter, "close", {
        signal: AbortSignal.timeout(5_000),
      });
      await post("1");
      await closed;
      assert.deepEqual([state.failsOnce, reader.waiting], [false, 0]);
    }
    await using reader = await connectTo(app.url, session);
    await post("2");
    assert.deepEqual([(await reader.next()).text, (await reader.next()).text], ["1", "2"]);
  });
}
