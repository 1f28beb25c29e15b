/** What the thread of the engine does for the MQTT clients of its workers. */
import { Hono } from "hono";
import type { Env, Protocol, Services } from "../protocol.ts";
import type { MqttSettings } from "./context.ts";
import { openRetained } from "./retaining.ts";
import { keepDesk } from "./seats.ts";

/** Opens the desk of shared subscriptions, and what retains the scheduled messages, which this thread publishes. */
export async function openEngineSide(services: Services<MqttSettings>): Promise<Protocol | undefined> {
  const { cluster, gate } = services;
  if (cluster === undefined) return undefined;
  const retaining = await openRetained(services);
  keepDesk(cluster, gate.isProtected);
  return { routes: new Hono<Env>(), [Symbol.asyncDispose]: () => retaining[Symbol.asyncDispose]() };
}
