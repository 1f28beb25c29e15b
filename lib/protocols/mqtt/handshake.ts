/**
 * CONNECT and CONNACK: what a client that connects may ask for, who it is, and what it is told. Connections call it.
 */
import type { Caller } from "../../auth/callouts.ts";
import type { Pass } from "../../auth/pass.ts";
import { MessagingError } from "../../core/errors.ts";
import type { IConnackPacket, IConnectPacket, Version } from "./codec.ts";
import type { MqttContext, MqttSettings } from "./context.ts";
import { readPayload } from "./properties.ts";
import { MAX_ALIASES } from "./publishing.ts";
import { REASONS } from "./reasons.ts";
import { Refusal } from "./refusal.ts";
import { parseTopic } from "./topics.ts";

const MAX_CLIENT_ID_LENGTH = 256;
/** The user name that goes with an API key as the password. */
const KEY_USER = "apikey";

/**
 * Checks what a CONNECT asks for.
 *
 * @throws {Refusal}
 * @throws {MessagingError} `draining`
 */
export function demandSupported({ properties }: IConnectPacket, { hub }: MqttContext): void {
  if (hub.draining) throw new MessagingError("draining", "The server is restarting: try again in a moment");
  if (properties?.authenticationMethod !== undefined) {
    throw new Refusal(REASONS.badAuthMethod, "There is no extended authentication here");
  }
  if (properties?.receiveMaximum === 0 || properties?.maximumPacketSize === 0) {
    throw new Refusal(REASONS.protocolError, "A maximum of 0");
  }
}

/** The client id that was asked for, or a new one where none was. @throws {Refusal} */
export function chooseClientId(
  { clientId, clean }: IConnectPacket,
  version: Version,
  { mqttAssignIds }: MqttSettings,
): string {
  if (clientId.length > MAX_CLIENT_ID_LENGTH || /\p{Cc}/u.test(clientId)) {
    throw new Refusal(
      REASONS.badClientId,
      `A client id has at most ${MAX_CLIENT_ID_LENGTH} characters and no control characters`,
    );
  }
  if (clientId !== "") return clientId;
  if (!mqttAssignIds || (version !== 5 && clean !== true)) {
    throw new Refusal(REASONS.badClientId, "A client id is needed here");
  }
  return `auto-${crypto.randomUUID()}`;
}

/**
 * The password is a token, or an API key where the user name says so. Where the application says who somebody is, and
 * no tokens are checked, it gets user name and password as the data of its callout `connect`.
 */
export async function admitClient(
  { username, password }: IConnectPacket,
  { gate }: MqttContext,
  caller: Caller | undefined,
): Promise<Pass> {
  const secret = password?.toString() ?? "";
  if (username !== KEY_USER && gate.asksWhoItIs && !gate.hasTokenKeys) {
    const text = JSON.stringify({ username, password: password === undefined ? undefined : secret });
    return await gate.admitConnection("", caller, { name: "mqtt", data: { kind: "json", text } });
  }
  if (username !== KEY_USER || gate.isOpen) {
    return await gate.admitConnection(secret, caller, { name: "mqtt" });
  }
  let request;
  try {
    request = new Request("http://localhost/", { headers: { "x-api-key": secret } });
  } catch {
    throw new Refusal(REASONS.badCredentials, "The API key is unknown");
  }
  if (!gate.carriesKey(request)) throw new Refusal(REASONS.badCredentials, "The API key is unknown");
  return gate.operator;
}

/**
 * Checks a will as if it were published now.
 *
 * @throws {Refusal}
 * @throws {MessagingError} if the client may not publish it
 */
export function demandWill(
  { will }: IConnectPacket,
  version: Version,
  pass: Pass,
  { hub, settings }: MqttContext,
): void {
  if (will === undefined) return;
  try {
    const channel = parseTopic(will.topic);
    hub.checkName(channel);
    pass.demand("publish", channel);
    readPayload({ qos: 0, retain: false, payload: will.payload, properties: will.properties }, version);
  } catch (error) {
    if (error instanceof SyntaxError) throw new Refusal(REASONS.badTopic, `Will: ${error.message}`);
    throw error;
  }
  if (will.payload.length > settings.maxMessageBytes) {
    throw new Refusal(REASONS.tooLarge, `The will is larger than ${settings.maxMessageBytes} bytes`);
  }
}

/** The keep-alive that holds, in seconds; 0 for none. Only 5.0 clients can be told another one. */
export function limitKeepAlive(
  seconds: number,
  version: Version,
  { mqttMaxKeepAlive }: MqttSettings,
): number {
  if (mqttMaxKeepAlive === 0 || version !== 5) return seconds;
  return seconds === 0 ? mqttMaxKeepAlive : Math.min(seconds, mqttMaxKeepAlive);
}

/** What a client is told that is accepted. */
export interface Accepted {
  readonly version: Version;
  readonly clientId: string;
  readonly sessionPresent: boolean;
  /** Seconds that the session is kept. */
  readonly expiry: number;
  readonly maxPacketBytes: number;
}

export function createConnack(
  { clientId, keepalive = 0, properties }: IConnectPacket,
  accepted: Accepted,
  settings: MqttSettings,
): IConnackPacket {
  const { version, sessionPresent, expiry, maxPacketBytes } = accepted;
  const connack: IConnackPacket = { cmd: "connack", reasonCode: 0, returnCode: 0, sessionPresent };
  if (version !== 5) return connack;
  const keepAlive = limitKeepAlive(keepalive, version, settings);
  return {
    ...connack,
    properties: {
      receiveMaximum: settings.mqttMaxInflight,
      maximumPacketSize: maxPacketBytes,
      topicAliasMaximum: MAX_ALIASES,
      ...(expiry === (properties?.sessionExpiryInterval ?? 0) ? {} : { sessionExpiryInterval: expiry }),
      ...(clientId === "" ? { assignedClientIdentifier: accepted.clientId } : {}),
      ...(keepAlive === keepalive ? {} : { serverKeepAlive: keepAlive }),
    },
  };
}
