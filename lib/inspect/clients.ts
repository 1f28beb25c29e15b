/** The inspector's views of clients: the subscribers of a channel, all connected clients, and the details of one. */
import { formatSelector } from "../core/channel.ts";
import type { Client } from "../core/client.ts";
import { MessagingError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";

/** One connection, named by the id of its socket, as several may share a client's id. */
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

export interface SubscriberRow extends ClientRow {
  /** The selector of its subscription: name, list or pattern. */
  readonly by: string;
}

export interface ClientDetails extends ClientRow {
  /** Bytes queued for it. */
  readonly queuedBytes: number;
  /** The selectors of its subscriptions, truncated if there are many. */
  readonly subscriptions: readonly string[];
  readonly subscriptionCount: number;
}

/** Most rows of one answer. */
export const SHOWN_CLIENTS = 100;
const SHOWN_SUBSCRIPTIONS = 100;

/** The first local subscribers of a channel. */
export function listSubscribers(hub: Hub, channel: string): readonly SubscriberRow[] {
  const rows: SubscriberRow[] = [];
  for (const { client, selector } of hub.listSubscriptions(channel)) {
    if (rows.push({ ...describe(client), by: formatSelector(selector) }) === SHOWN_CLIENTS) break;
  }
  return rows;
}

/** The first local clients whose id, name, user or address contains a text, given in lower case. */
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

/** @throws {MessagingError} `not_found` if the connection has ended */
export function describeClient(hub: Hub, connection: string): ClientDetails {
  const client = findClient(hub, connection);
  const keys = Array.from(hub.listSubscriptionsOf(client), ({ selector }) => formatSelector(selector));
  return {
    ...describe(client),
    queuedBytes: client.socket.queuedBytes,
    subscriptions: keys.slice(0, SHOWN_SUBSCRIPTIONS),
    subscriptionCount: keys.length,
  };
}

/**
 * Ends a connection with a code after which well-behaved clients do not reconnect.
 *
 * @throws {MessagingError} `not_found` if it has ended
 */
export function disconnectClient(hub: Hub, connection: string): ClientRow {
  const client = findClient(hub, connection);
  // The "force disconnect" of the Centrifuge protocol; other protocols close as for a refusal.
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
