/** The settings of MQTT, joined into the table of all settings. */
import { onOrOff, type Settings, wholeNumber } from "../../base/setting.ts";

export const MQTT_SETTINGS = {
  mqttPort: {
    value: "N",
    fallback: "",
    help: "TCP port for MQTT devices, 1883 by custom; 0 picks a free one; off by default, unlike /mqtt",
    parse: (text: string) => text === "" ? undefined : wholeNumber(0, 65_535)(text),
  },
  mqttConnectTimeout: {
    value: "SECONDS",
    fallback: "10",
    help: "time an MQTT client has to send CONNECT",
    parse: wholeNumber(1, 3_600),
  },
  mqttMaxKeepAlive: {
    value: "SECONDS",
    fallback: "0",
    help: "longest keep-alive of MQTT clients, which 5.0 clients are told to use instead; 0 for any",
    parse: wholeNumber(0, 65_535),
  },
  mqttMaxSessionExpiry: {
    value: "SECONDS",
    fallback: "604800",
    help: "longest time that an MQTT session is kept without its client",
    parse: wholeNumber(0, 4_294_967_295),
  },
  mqttMaxSessions: {
    value: "N",
    fallback: "10000",
    help: "most MQTT sessions that a node keeps for clients that may return",
    parse: wholeNumber(0, 1_000_000),
  },
  mqttMaxInflight: {
    value: "N",
    fallback: "64",
    help: "most unacknowledged MQTT messages in either direction of a connection",
    parse: wholeNumber(1, 65_535),
  },
  mqttMaxRetained: {
    value: "N",
    fallback: "10000",
    help: "most channels with a retained message",
    parse: wholeNumber(0, 1_000_000),
  },
  mqttMaxRetainedBytes: {
    value: "N",
    fallback: String(64 * 1024 * 1024),
    help: "bytes that all retained messages may take",
    parse: wholeNumber(1, 1024 ** 4),
  },
  mqttAssignIds: {
    value: "true|false",
    fallback: "true",
    help: "let MQTT clients connect with an empty client id, and assign one; false refuses them",
    parse: onOrOff,
  },
} satisfies Settings;
