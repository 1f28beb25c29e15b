/** What Centrifuge sessions, their subscriptions and their transports know of each other. */
import type { Pass } from "../../auth/pass.ts";
import type { Tie } from "../../auth/grants.ts";
import type { Client } from "../../core/client.ts";
import type { MessagingError } from "../../core/errors.ts";
import type { Frame } from "../../core/socket.ts";
import type { Action } from "../../core/rules.ts";
import type { Values } from "../../base/setting.ts";
import type { ProtocolSettings, Services } from "../protocol.ts";
import type { End, Reply, SubscribeResult } from "./codec.ts";
import type { CentrifugeFormat } from "./encoders.ts";
import type { CENTRIFUGE_SETTINGS } from "./settings.ts";

/** What the protocol reads of the configuration. */
export type CentrifugeSettings = ProtocolSettings & Values<typeof CENTRIFUGE_SETTINGS>;

/** What Centrifuge sessions work with besides what all protocols do. */
export interface CentrifugeContext extends Services<CentrifugeSettings> {
  /** Sessions by their id, for commands that arrive by another request. */
  readonly sessions: Map<string, SessionHandle>;
}

/** A session, as `POST /emulation` and the drain reach it. */
export interface SessionHandle {
  /** Takes one frame or body of commands. */
  receive(frame: string | Uint8Array): void;
  /** Ends the session and its connection. Ending it again does nothing. */
  end(reason: MessagingError | End): void;
}

/** A session, as its subscriptions see it. */
export interface ChannelOwner extends SessionHandle {
  readonly context: CentrifugeContext;
  readonly format: CentrifugeFormat;
  /** The connected client. */
  readonly client: Client;
  readonly pass: Pass;
  /** @throws {MessagingError} when the client may not do something on a channel */
  demand(action: Action, channel: string, tie: Tie): void;
  /** Sends replies and pushes. */
  send(...replies: readonly Reply[]): void;
  /** Sends a frame that others may get, too. */
  sendFrame(frame: Frame): void;
  /**
   * Sends the answer to a subscribe. What is sent after it comes after it, though to encode it may take several turns: the
   * promise resolves then, and meanwhile no other of these may be sent.
   */
  sendSubscribed(id: number, result: SubscribeResult): Promise<void> | undefined;
  /**
   * Runs what may read and answer much, one at a time and as the client takes it.
   *
   * @throws {MessagingError} `too_many_requests`
   */
  inHeavyTurn<T>(run: () => Promise<T>): Promise<T>;
}
