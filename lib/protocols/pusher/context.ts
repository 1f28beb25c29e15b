/** What the sessions and the HTTP API of the Pusher protocol share. */
import type { Values } from "../../base/setting.ts";
import type { ProtocolSettings, Services } from "../protocol.ts";
import type { Apps, MountedApp } from "./apps.ts";
import type { Rooms } from "./rooms.ts";
import type { PUSHER_SETTINGS } from "./settings.ts";
import type { PusherWebhooks } from "./webhooks.ts";

/** What the protocol reads of the configuration. */
export type PusherSettings = ProtocolSettings & Values<typeof PUSHER_SETTINGS>;

/** A session, as the server reaches it. */
export interface SessionHandle {
  readonly app: MountedApp;
  /** Who has signed in. */
  readonly user: string | undefined;
  /** Closes the connection with a code of the protocol. */
  hangUp(code: number, reason: string): void;
}

export interface PusherContext extends Services<PusherSettings> {
  readonly apps: Apps;
  readonly rooms: Rooms;
  readonly webhooks: PusherWebhooks;
  /** The sessions of this node. */
  readonly sessions: Set<SessionHandle>;
}
