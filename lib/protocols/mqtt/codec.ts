/** MQTT packets to and from bytes: `mqtt-packet` behind the types and the strictness that the sessions need. */
import { Buffer } from "node:buffer";
import type {
  IConnackPacket,
  IConnectPacket,
  IPublishPacket,
  ISubscribePacket,
  IUnsubscribePacket,
  Packet,
  Parser,
} from "mqtt-packet";
import { FramingError } from "./framer.ts";
import { generate, parser } from "./packet_library.ts";
import { checkPacket } from "./strictness.ts";

export type { IConnackPacket, IConnectPacket, IPublishPacket, ISubscribePacket, IUnsubscribePacket, Packet };

/** 3 is MQTT 3.1, 4 is 3.1.1. */
export type Version = 3 | 4 | 5;

/** Packets with an id that answer others. */
export type AckCommand = "puback" | "pubrec" | "pubrel" | "pubcomp";

/** Decodes whole packets of one connection. The first one, CONNECT, tells the version of those that follow. */
export class PacketDecoder {
  #parser: Parser = parser({ protocolVersion: 4 });
  #packet: Packet | undefined;
  #fault: string | undefined;
  #version: Version = 4;

  constructor() {
    this.#listen();
  }

  /** Sets the version by which the next packets are read. */
  setVersion(version: Version): void {
    this.#version = version;
    this.#parser = parser({ protocolVersion: version });
    this.#listen();
  }

  /** @throws {FramingError} for a packet that is malformed */
  decode(bytes: Uint8Array<ArrayBuffer>): Packet {
    this.#packet = this.#fault = undefined;
    let left;
    try {
      left = this.#parser.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    } catch (error) {
      // The parser reads beyond the end of some truncated packets.
      this.#fault = error instanceof Error ? error.message : String(error);
    }
    const packet = this.#packet as Packet | undefined;
    if (this.#fault !== undefined || packet === undefined || left !== 0) {
      throw new FramingError(
        0x81,
        `Malformed packet: ${this.#fault ?? "it does not end where its length says"}`,
      );
    }
    checkPacket(packet, bytes, this.#version);
    return packet;
  }

  #listen(): void {
    this.#parser.on("packet", (packet) => {
      if (this.#packet === undefined) this.#packet = packet;
      else this.#fault = "it holds another packet";
    });
    this.#parser.on("error", (error) => {
      this.#fault = error instanceof Error ? error.message : String(error);
    });
  }
}

/** Encodes a packet for a client of a version. */
export function encodePacket(packet: Packet, version: Version): Uint8Array<ArrayBuffer> {
  return new Uint8Array(generate(packet, { protocolVersion: version }));
}
