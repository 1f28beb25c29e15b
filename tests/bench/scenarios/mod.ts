/** The registry of scenarios, in the order they run. */
import type { Scenario } from "../scenario.ts";
import { CHANNELS } from "./channels.ts";
import { CONNECT, IDLE } from "./connections.ts";
import { FAN_OUT, FAN_OUT_MATRIX } from "./fan_out.ts";
import { HANDOVER } from "./handover.ts";
import { INSPECTOR } from "./inspector.ts";
import { LATENCY } from "./latency.ts";
import { NODES } from "./nodes.ts";
import { PUBLISH, PUBLISH_SOCKET } from "./publish.ts";
import { REPLAY } from "./replay.ts";

export const SCENARIOS: readonly Scenario[] = [
  FAN_OUT,
  PUBLISH,
  PUBLISH_SOCKET,
  CHANNELS,
  LATENCY,
  CONNECT,
  IDLE,
  REPLAY,
  HANDOVER,
  INSPECTOR,
  NODES,
  FAN_OUT_MATRIX,
];
