/** Fan-out to MQTT subscribers at QoS 0, with Mosquitto beside it; the rest is as in the fan-out to WebSockets. */
import { MOSQUITTO, RAINDROPS_MQTT } from "../contenders.ts";
import { checkRatio, type Scenario } from "../scenario.ts";
import { formatLabel, LOADS, measureFanOut, READERS } from "./fan_out.ts";

export const MQTT_FAN_OUT: Scenario = {
  name: "mqtt",
  summary: "64 bytes to 1,000 MQTT subscribers at QoS 0 with 1, 16 and 128 messages in flight, and Mosquitto",
  deadline: 60,
  run: (context) => measureFanOut(context, [MOSQUITTO, RAINDROPS_MQTT], READERS, LOADS, MOSQUITTO),
  check(medians) {
    const labels = [RAINDROPS_MQTT, MOSQUITTO].map((each) =>
      formatLabel(each, READERS, { inFlight: 16, size: 64 })
    );
    return checkRatio(medians, labels[0]!, labels[1]!, { least: 1 });
  },
};
