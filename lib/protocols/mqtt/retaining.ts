/** Puts the retained messages between a hub and its engine: in each thread that publishes, that of the engine too. */
import type { Services } from "../protocol.ts";
import type { MqttSettings } from "./context.ts";
import { RetainedMessages } from "./retained.ts";

/** Loads what is retained, and has the hub keep what is published from now on. Disposing it stores what has changed. */
export async function openRetained(
  { settings, logger, state, hub, limits: { shares } }: Services<MqttSettings>,
): Promise<AsyncDisposable & { readonly retained: RetainedMessages }> {
  const { mqttMaxRetained: maxMessages, mqttMaxRetainedBytes: maxBytes } = settings;
  const retained = new RetainedMessages({ state, logger, maxMessages, maxBytes, shares });
  const observed = [
    hub.observe((messages) => retained.observe(messages), "delivered"),
    hub.observeRemovals((removal) => retained.forget(removal)),
  ];
  hub.retainBy(retained);
  await retained.load();
  return {
    retained,
    async [Symbol.asyncDispose]() {
      for (const stop of observed) stop();
      await retained[Symbol.asyncDispose]();
    },
  };
}
