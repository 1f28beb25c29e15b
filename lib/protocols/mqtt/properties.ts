/** PUBLISH packets as payloads and properties of messages, and back. */
import { Buffer } from "node:buffer";
import { jsonKind } from "../../base/json_text.ts";
import { MAX_TTL_SECONDS } from "../../core/draft.ts";
import { type Message, type MessageProperties, type Payload, toJsonPayload } from "../../core/message.ts";
import type { IPublishPacket, Version } from "./codec.ts";

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

type PublishProperties = NonNullable<IPublishPacket["properties"]>;

/** A PUBLISH or a will, as far as both are alike. */
export interface Published {
  readonly payload: Buffer | string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly properties?: PublishProperties | undefined;
}

/**
 * The payload of a message. UTF-8 is text where a 3.1.1 client sent it or a 5.0 client says that it is text; the rest
 * is bytes.
 *
 * @throws {SyntaxError} for a payload that is declared to be UTF-8 and is not
 */
export function readPayload({ payload, properties }: Published, version: Version): Payload {
  const bytes = typeof payload === "string" ? encoder.encode(payload) : new Uint8Array(payload);
  const { payloadFormatIndicator, contentType } = properties ?? {};
  const type = contentType?.split(";")[0]?.trim().toLowerCase() ?? "";
  const isJson = type === "application/json" || type.endsWith("+json");
  const isText = payloadFormatIndicator === true || type.startsWith("text/") || isJson;
  if (version === 5 && !isText) return { kind: "bytes", bytes };
  let text;
  try {
    text = UTF8.decode(bytes);
  } catch {
    if (payloadFormatIndicator === true) {
      throw new SyntaxError("The payload is not UTF-8, as its indicator says");
    }
    return { kind: "bytes", bytes };
  }
  return isJson ? readJson(text) : { kind: "text", text };
}

function readJson(text: string): Payload {
  try {
    JSON.parse(text);
  } catch {
    return { kind: "text", text };
  }
  // What white space is around it would be lost to MQTT clients.
  return text === text.trim() && jsonKind(text) !== "string" ? toJsonPayload(text) : { kind: "text", text };
}

/** What a message says beside its payload. */
export function readProperties({ qos, retain, properties = {} }: Published): MessageProperties {
  const { contentType, responseTopic, correlationData, userProperties, messageExpiryInterval } = properties;
  const user = Object.entries(userProperties ?? {})
    .flatMap(([name, value]) => [value].flat().map((one) => [name, one] as const));
  return {
    qos,
    ...(retain ? { retain } : {}),
    ...(messageExpiryInterval === undefined
      ? {}
      : { ttl: Math.min(Math.max(messageExpiryInterval, 1), MAX_TTL_SECONDS) }),
    ...(properties.payloadFormatIndicator === true ? { isText: true } : {}),
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlation: correlationData.toString("base64") }),
    ...(user.length === 0 ? {} : { user }),
  };
}

/** The seconds until a message expires; undefined if it does not. */
export function secondsLeft({ time, properties }: Message): number | undefined {
  if (properties?.ttl === undefined) return undefined;
  return properties.ttl - Math.floor((Date.now() - time) / 1_000);
}

/** The user property that tells of lost messages before one; its value is the id of the first that is left. */
const GAP_PROPERTY = "raindrops-gap";

/**
 * The properties of a PUBLISH to a 5.0 client.
 *
 * @param subscription the subscription identifier
 * @param gap what is told with the gap property
 */
export function toPublishProperties(
  message: Message,
  subscription: number | undefined,
  gap: string | undefined,
): PublishProperties {
  const { payload, properties = {} } = message;
  const { contentType, responseTopic, correlation, user } = properties;
  const left = secondsLeft(message);
  const userProperties: Record<string, string | string[]> = {};
  for (
    const [name, value] of gap === undefined ? user ?? [] : [...user ?? [], [GAP_PROPERTY, gap] as const]
  ) {
    const known = Object.hasOwn(userProperties, name) ? userProperties[name] : undefined;
    Object.defineProperty(userProperties, name, {
      value: known === undefined ? value : [known, value].flat(),
      enumerable: true,
      configurable: true,
    });
  }
  const type = contentType ?? (payload.kind === "json" ? "application/json" : undefined);
  const isText = properties.isText === true || (payload.kind !== "bytes" && properties.qos === undefined);
  return {
    ...(isText ? { payloadFormatIndicator: true } : {}),
    ...(left === undefined ? {} : { messageExpiryInterval: Math.max(left, 1) }),
    ...(type === undefined ? {} : { contentType: type }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlation === undefined ? {} : { correlationData: Buffer.from(correlation, "base64") }),
    ...(user === undefined && gap === undefined ? {} : { userProperties }),
    ...(subscription === undefined ? {} : { subscriptionIdentifier: subscription }),
  };
}

/** The bytes of a payload as MQTT clients get it. */
export function encodePayload(payload: Payload): Buffer {
  return payload.kind === "bytes"
    ? Buffer.from(payload.bytes.buffer, payload.bytes.byteOffset, payload.bytes.byteLength)
    : Buffer.from(payload.text);
}
