/** MQTT 3.1.1 and 5 over WebSockets at `/mqtt`, and over TCP where `--mqtt-port` names a port. */
import { describeReason } from "../../base/reason.ts";
import { Hono } from "hono";
import type { Env, Protocol, Services } from "../protocol.ts";
import { ClientIds } from "./client_ids.ts";
import type { MqttContext, MqttSettings } from "./context.ts";
import { chooseSubprotocol, listenMqtt, openMqttSocket } from "./doors.ts";
import { REASONS } from "./reasons.ts";
import { Recovery } from "./recovery.ts";
import { openRetained } from "./retaining.ts";
import { openSharedGroups } from "./seats.ts";
import { type SessionChange, SessionStore } from "./session_store.ts";
import { Wills } from "./wills.ts";

export { openEngineSide } from "./engine_side.ts";
export { MQTT_SETTINGS as SETTINGS } from "./settings.ts";

/** The call by which nodes tell each other of sessions. */
const SESSIONS_CALL = "mqtt.session";

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
  const { settings, logger, state, hub, connections, cluster, limits: { shares } } = services;
  const groups = openSharedGroups(services);
  const stopObserving = hub.observe((messages) => groups.observe(messages), "delivered");
  const retaining = await openRetained(services);
  const store = new SessionStore(state, { maxSessions: settings.mqttMaxSessions, shares });
  shareSessions(store, cluster, logger);
  const wills = new Wills({
    state,
    logger,
    node: hub.identity.node,
    isAlive: (node) => cluster?.isAlive(node) ?? false,
    publish: async (draft) => {
      await hub.publish(draft);
    },
  });
  const context: MqttContext = {
    ...services,
    retained: retaining.retained,
    store,
    groups,
    wills,
    connectionsOpen: new Set(),
    // Other nodes may ask before a client can connect here.
    clientIds: new ClientIds({ cluster }),
  };
  const listener = settings.mqttPort === undefined ? undefined : await listenMqtt(context, settings.mqttPort);
  const recovery = new Recovery({ store, wills, cluster, logger });
  if (listener !== undefined) logger.write("info", "listening for mqtt", { port: listener.port });
  const routes = new Hono<Env>();
  routes.get(
    "/mqtt",
    ({ env, req }) => {
      const caller = services.gate.describeCaller(req.raw, "mqtt");
      return connections.upgrade(env.peer, (connection) => openMqttSocket(context, connection, caller), {
        subprotocol: chooseSubprotocol(req.raw),
      });
    },
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
      await listener?.[Symbol.asyncDispose]();
      await Promise.all(finished);
      await recovery[Symbol.asyncDispose]();
      await wills[Symbol.asyncDispose]();
      await retaining[Symbol.asyncDispose]();
    },
  };
}

/** Lets all nodes, and all threads of a process, know of each other's sessions. */
function shareSessions(store: SessionStore, cluster: Services["cluster"], logger: Services["logger"]): void {
  if (cluster === undefined) return;
  cluster.handle(SESSIONS_CALL, (body) => {
    store.hear(body as SessionChange);
    return null;
  });
  store.onChange = (change) => {
    cluster.callAll(SESSIONS_CALL, change).catch((error) => {
      logger.write("debug", "nodes were not told of a session", { reason: describeReason(error) });
    });
  };
}
