/** The registry of scenarios, in the order they run. */
import type { Scenario } from "../scenario.ts";
import { CHANNELS } from "./channels.ts";
import { CONNECT, IDLE } from "./connections.ts";
import { FAN_OUT, FAN_OUT_MATRIX } from "./fan_out.ts";
import { HANDOVER } from "./handover.ts";
import { INSPECTOR } from "./inspector.ts";
import { LATENCY } from "./latency.ts";
import { MQTT_FAN_OUT } from "./mqtt.ts";
import { NODES } from "./nodes.ts";
import { PUBLISH, PUBLISH_SOCKET } from "./publish.ts";
import { REPLAY } from "./replay.ts";
import { WEBHOOKS } from "./webhooks.ts";
import { WORKERS } from "./workers.ts";

export const SCENARIOS: readonly Scenario[] = [
  FAN_OUT,
  MQTT_FAN_OUT,
  PUBLISH,
  PUBLISH_SOCKET,
  CHANNELS,
  WORKERS,
  LATENCY,
  CONNECT,
  IDLE,
  REPLAY,
  HANDOVER,
  INSPECTOR,
  WEBHOOKS,
  NODES,
  FAN_OUT_MATRIX,
];
