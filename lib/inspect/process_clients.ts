/**
 * The inspector's views of the clients of all threads of this process. Each thread answers for its own; the one that is
 * asked puts the answers together. The inspector owns one.
 */
import type { Cluster } from "../core/cluster/cluster.ts";
import { MessagingError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";
import {
  type ClientDetails,
  type ClientRow,
  describeClient,
  disconnectClient,
  listClients,
  listSubscribers,
  SHOWN_CLIENTS,
  type SubscriberRow,
} from "./clients.ts";

const LIST = "inspect.clients";
const DESCRIBE = "inspect.client";
const DISCONNECT = "inspect.disconnect";
const SUBSCRIBERS = "inspect.subscribers";

type ClientList = ReturnType<typeof listClients>;

export class ProcessClients {
  readonly #hub: Hub;
  readonly #cluster: Cluster | undefined;

  /** @param cluster where the other threads are, if there are any */
  constructor(hub: Hub, cluster: Cluster | undefined) {
    this.#hub = hub;
    this.#cluster = cluster;
    cluster?.handle(LIST, (filter) => listClients(hub, filter as string));
    cluster?.handle(DESCRIBE, (connection) => findOrNull(() => describeClient(hub, connection as string)));
    cluster?.handle(
      DISCONNECT,
      (connection) => findOrNull(() => disconnectClient(hub, connection as string)),
    );
    cluster?.handle(SUBSCRIBERS, (channel) => listSubscribers(hub, channel as string));
  }

  /** The first clients whose id, name, user or address contains a text, given in lower case; the oldest first. */
  async list(filter: string): Promise<ClientList> {
    const all = [listClients(this.#hub, filter), ...await this.#ask<ClientList>(LIST, filter)];
    const rows = all.flatMap((list) => list.rows).sort((a, b) => a.since - b.since).slice(0, SHOWN_CLIENTS);
    return { rows, total: all.reduce((sum, { total }) => sum + total, 0) };
  }

  /** The first subscribers of a channel. */
  async listSubscribers(channel: string): Promise<readonly SubscriberRow[]> {
    const others = await this.#ask<readonly SubscriberRow[]>(SUBSCRIBERS, channel);
    return [listSubscribers(this.#hub, channel), ...others].flat().slice(0, SHOWN_CLIENTS);
  }

  /** @throws {MessagingError} `not_found` if the connection has ended */
  async describe(connection: string): Promise<ClientDetails> {
    return findOrNull(() => describeClient(this.#hub, connection)) ??
      await this.#find<ClientDetails>(DESCRIBE, connection);
  }

  /**
   * Ends a connection.
   *
   * @throws {MessagingError} `not_found` if it has ended
   */
  async disconnect(connection: string): Promise<ClientRow> {
    return findOrNull(() => disconnectClient(this.#hub, connection)) ??
      await this.#find<ClientRow>(DISCONNECT, connection);
  }

  async #ask<Answer>(method: string, body: string): Promise<readonly Answer[]> {
    return (await this.#cluster?.callOwn(method, body) ?? []) as readonly Answer[];
  }

  async #find<Answer>(method: string, connection: string): Promise<Answer> {
    const found = (await this.#ask<Answer | null>(method, connection)).find((answer) => answer !== null);
    if (found === undefined || found === null) {
      throw new MessagingError("not_found", "That connection has ended");
    }
    return found;
  }
}

/** What is looked for, or null: undefined does not cross to another thread. */
function findOrNull<Found>(find: () => Found): Found | null {
  try {
    return find();
  } catch (error) {
    if (error instanceof MessagingError && error.code === "not_found") return null;
    throw error;
  }
}
