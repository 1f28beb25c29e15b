/** What the packet library lets pass and the standard does not: the decoder checks every packet here. */
import type { Packet } from "mqtt-packet";
import { FramingError } from "./framer.ts";
import { REASONS } from "./reasons.ts";

/** What a decoder leaves of bytes that were no UTF-8, as text and as its own bytes. */
const REPLACEMENT = "\ufffd";
const REPLACEMENT_BYTES = [0xef, 0xbf, 0xbd] as const;

/**
 * Checks packet ids, properties, lists and texts of a packet as it was parsed.
 *
 * @param bytes the whole packet
 * @throws {FramingError} 0x81 without a packet id that is needed (section 2.2.1), for a property that is cut off or for
 * text that is not UTF-8 (section 1.5.4), 0x82 for a property that is there twice (section 2.2.2) or an empty list of
 * filters (section 3.8.3)
 */
export function checkPacket(packet: Packet, bytes: Uint8Array, version: number): void {
  if ("properties" in packet) checkValues(packet.properties);
  if (packet.cmd === "connect") checkValues(packet.will?.properties);
  switch (packet.cmd) {
    case "publish":
      if (packet.qos > 0) checkId(packet);
      if (version === 5) checkProperties(bytes, packet.qos > 0 ? 2 : 0);
      checkTexts(bytes, packet.topic, packet.properties);
      break;
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      checkId(packet);
      break;
    case "subscribe":
      checkId(packet);
      checkFilters(bytes, packet.subscriptions.map(({ topic }) => topic));
      break;
    case "unsubscribe":
      checkId(packet);
      checkFilters(bytes, packet.unsubscriptions);
      break;
    case "connect": {
      const { clientId, username, will } = packet;
      checkTexts(bytes, clientId, { username, topic: will?.topic });
      break;
    }
  }
}

/** The library reads -1 where the packet ends before its id. */
function checkId({ cmd, messageId = 0 }: Packet): void {
  if (messageId < 1) throw new FramingError(REASONS.malformed, `A ${cmd.toUpperCase()} without a packet id`);
}

/** The library reads null where a property goes beyond the end, and a list where it is there twice. */
function checkValues(properties: object = {}): void {
  for (const [name, value] of Object.entries(properties)) {
    const values = name === "userProperties" ? Object.values(value).flat() : [value];
    if (values.includes(null)) {
      throw new FramingError(REASONS.malformed, `A packet that ends within its property ${name}`);
    }
    if (Array.isArray(value) && name !== "subscriptionIdentifier") {
      throw new FramingError(REASONS.protocolError, `The property ${name} is there twice`);
    }
  }
}

/** A PUBLISH of 5.0 has the length of its properties even where there are none (section 3.3.2.3.1). */
function checkProperties(bytes: Uint8Array, idBytes: number): void {
  const head = bytes.findIndex((byte, at) => at > 0 && byte < 0x80) + 1;
  const topicBytes = bytes[head]! * 256 + bytes[head + 1]!;
  if (bytes.length > head + 2 + topicBytes + idBytes) return;
  throw new FramingError(REASONS.malformed, "A PUBLISH that ends before its properties");
}

function checkFilters(bytes: Uint8Array, filters: readonly string[]): void {
  if (filters.length === 0) throw new FramingError(REASONS.protocolError, "A list of filters that is empty");
  for (const filter of filters) checkTexts(bytes, filter);
}

function checkTexts(bytes: Uint8Array, text: string, more: object = {}): void {
  const texts = [text, ...Object.values(more)];
  if (!texts.some((value) => typeof value === "string" && value.includes(REPLACEMENT))) return;
  // The character itself is allowed, and no other bytes are read as it.
  const isSent = bytes.some((_, at) => REPLACEMENT_BYTES.every((byte, i) => bytes[at + i] === byte));
  if (!isSent) throw new FramingError(REASONS.malformed, "A text that is not UTF-8");
}
