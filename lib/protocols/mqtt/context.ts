/** What the connections of MQTT work with besides what all protocols do. */
import type { MessagingError } from "../../core/errors.ts";
import type { Connection } from "../../core/limits.ts";
import type { Outbox } from "../../core/outbox.ts";
import type { Socket } from "../../core/socket.ts";
import type { Values } from "../../base/setting.ts";
import type { ProtocolSettings, Services } from "../protocol.ts";
import type { Claimant, ClientIds } from "./client_ids.ts";
import type { Packet, Version } from "./codec.ts";
import type { RetainedMessages } from "./retained.ts";
import type { SessionStore } from "./session_store.ts";
import type { MQTT_SETTINGS } from "./settings.ts";
import type { SharedGroups } from "./shared.ts";
import type { Wills } from "./wills.ts";

/** What the protocol reads of the configuration. */
export type MqttSettings = ProtocolSettings & Values<typeof MQTT_SETTINGS>;

export interface MqttContext extends Services<MqttSettings> {
  readonly retained: RetainedMessages;
  readonly store: SessionStore;
  readonly groups: SharedGroups;
  readonly wills: Wills;
  /** All connections, those before CONNECT too. */
  readonly connectionsOpen: Set<Claimant>;
  /** Which connection has which client id. */
  readonly clientIds: ClientIds;
}

/** A connection, as its session sees it. */
export interface SessionConnection extends Claimant {
  readonly context: MqttContext;
  readonly connection: Connection;
  readonly socket: Socket;
  readonly outbox: Outbox;
  readonly version: Version;
  readonly clientId: string;
  /** Sends a packet; ends the connection of a client that does not read. */
  send(packet: Packet): void;
  sendEncoded(packets: readonly Uint8Array<ArrayBuffer>[]): void;
  /** Ends the connection for one of our errors. */
  endFor(error: MessagingError): void;
  /** Ends the connection for any error. */
  fail(error: unknown): void;
}
