/** MQTT 3.1.1 and 5 over WebSockets at `/mqtt`, and over TCP where `--mqtt-port` names a port. */
import { Hono } from "hono";
import type { Env, Protocol, Services } from "../protocol.ts";
import type { MqttContext, MqttSettings } from "./context.ts";
import { chooseSubprotocol, listenMqtt, openMqttSocket } from "./doors.ts";
import { REASONS } from "./reasons.ts";
import { RetainedMessages } from "./retained.ts";
import { SessionStore } from "./session_store.ts";
import { SharedGroups } from "./shared.ts";
import { Wills } from "./wills.ts";

export { MQTT_SETTINGS as SETTINGS } from "./settings.ts";

/** The protocol, with the port that it listens on. */
export interface MqttProtocol extends Protocol {
  /** Undefined without `--mqtt-port`. */
  readonly port: number | undefined;
}

/**
 * Opens the protocol. Its WebSocket is always on, its port only with `--mqtt-port`.
 *
 * @throws {SyntaxError} for a port that cannot be listened on
 */
export async function open(services: Services<MqttSettings>): Promise<MqttProtocol> {
  const { settings, logger, state, hub, connections } = services;
  const retained = new RetainedMessages({ state, logger, maxMessages: settings.mqttMaxRetained });
  const stopObserving = hub.observe((messages) => retained.observe(messages));
  await retained.load();
  const context: MqttContext = {
    ...services,
    retained,
    store: new SessionStore(state),
    groups: new SharedGroups(),
    wills: new Wills(),
    connectionsOpen: new Set(),
    connected: new Map(),
  };
  const listener = settings.mqttPort === undefined ? undefined : await listenMqtt(context, settings.mqttPort);
  if (listener !== undefined) logger.write("info", "listening for mqtt", { port: listener.port });
  const routes = new Hono<Env>();
  routes.get(
    "/mqtt",
    ({ env, req }) =>
      connections.upgrade(env.peer, (connection) => openMqttSocket(context, connection), {
        subprotocol: chooseSubprotocol(req.raw),
      }),
  );
  const drain = () => {
    for (const connection of [...context.connectionsOpen]) {
      connection.end(REASONS.shuttingDown, "The server is restarting");
    }
  };
  return {
    routes,
    port: listener?.port,
    drain,
    async [Symbol.asyncDispose]() {
      const finished = [...context.connectionsOpen].map((connection) => connection.finished);
      drain();
      stopObserving();
      context.wills[Symbol.dispose]();
      await listener?.[Symbol.asyncDispose]();
      await Promise.all(finished);
      await retained.settled();
      retained[Symbol.dispose]();
    },
  };
}
