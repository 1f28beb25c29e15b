/** The registry of scenarios, in the order they run. */
import type { Scenario } from "../scenario.ts";
import { FAN_OUT } from "./fan_out.ts";
import { HANDOVER } from "./handover.ts";
import { PUBLISH } from "./publish.ts";
import { REPLAY } from "./replay.ts";

export const SCENARIOS: readonly Scenario[] = [PUBLISH, REPLAY, HANDOVER, FAN_OUT];
