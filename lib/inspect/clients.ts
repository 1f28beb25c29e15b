/** What the inspector shows of clients: who reads a channel, who is connected, and one of them in full. */
import type { Client } from "../core/client.ts";
import { MessagingError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";

/** One connection. Several may share a client's id, so each is named by its socket. */
export interface ClientRow {
  readonly connection: string;
  readonly id: string;
  readonly name: string | undefined;
  readonly user: string | undefined;
  readonly protocol: string;
  readonly address: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

interface SubscriberRow extends ClientRow {
  /** The name, list or pattern by which it reads the channel. */
  readonly by: string;
}

export interface ClientDetails extends ClientRow {
  /** Bytes that wait for it. */
  readonly queuedBytes: number;
  /** What it reads; the first of many. */
  readonly subscriptions: readonly string[];
  readonly subscriptionCount: number;
}

/** Rows of one answer. */
const SHOWN_CLIENTS = 100;
const SHOWN_SUBSCRIPTIONS = 100;

/** The first clients of this node that read a channel. */
export function listSubscribers(hub: Hub, channel: string): readonly SubscriberRow[] {
  const rows: SubscriberRow[] = [];
  for (const { client, selector } of hub.listSubscriptions(channel)) {
    if (rows.push({ ...describe(client), by: selector.key }) === SHOWN_CLIENTS) break;
  }
  return rows;
}

/** The first clients of this node whose id, name, user or address holds a text, which is in lower case. */
export function listClients(
  hub: Hub,
  filter: string,
): { readonly rows: readonly ClientRow[]; readonly total: number } {
  const rows: ClientRow[] = [];
  let total = 0;
  for (const client of hub.clients) {
    if (filter !== "" && !matches(client, filter)) continue;
    if (++total <= SHOWN_CLIENTS) rows.push(describe(client));
  }
  return { rows, total };
}

/** @throws {MessagingError} `not_found` when the connection has ended */
export function describeClient(hub: Hub, connection: string): ClientDetails {
  const client = findClient(hub, connection);
  const keys = Array.from(hub.listSubscriptionsOf(client), ({ selector }) => selector.key);
  return {
    ...describe(client),
    queuedBytes: client.socket.queuedBytes,
    subscriptions: keys.slice(0, SHOWN_SUBSCRIPTIONS),
    subscriptionCount: keys.length,
  };
}

/**
 * Ends a connection so that well-behaved clients stay away.
 *
 * @throws {MessagingError} `not_found` when it has ended
 */
export function disconnectClient(hub: Hub, connection: string): ClientRow {
  const client = findClient(hub, connection);
  // What the Centrifuge protocol calls "force disconnect"; other protocols have the close code of a refusal.
  if (client.control === undefined) {
    client.end(new MessagingError("forbidden", "Disconnected by an operator"));
  } else client.control.disconnect(3503, "force disconnect");
  return describe(client);
}

function findClient(hub: Hub, connection: string): Client {
  for (const client of hub.clients) {
    if (client.socket.id === connection) return client;
  }
  throw new MessagingError("not_found", "That connection has ended");
}

function matches({ id, name = "", user = "", address }: Client, filter: string): boolean {
  return [id, name, user, address].some((text) => text.toLowerCase().includes(filter));
}

function describe({ socket, id, name, user, protocol, address, since }: Client): ClientRow {
  return { connection: socket.id, id, name, user, protocol, address, since };
}
