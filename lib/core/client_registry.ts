/** The clients that are connected to one process, by id, each with its subscriptions. The hub owns it. */
import { Tally } from "../base/tally.ts";
import { directChannel } from "./channel.ts";
import type { Client } from "./client.ts";
import { MessagingError } from "./errors.ts";
import type { Subscription } from "./subscription.ts";

export class ClientRegistry {
  readonly #subscriptions = new Map<Client, Set<Subscription>>();
  readonly #byId = new Map<string, Set<Client>>();
  /** Those that do not get back what they send, by socket. */
  readonly #bySocket = new Map<string, Client>();
  readonly #users = new Tally();

  /** The number of clients. */
  get size(): number {
    return this.#subscriptions.size;
  }

  /** The number of different users. */
  get userCount(): number {
    return this.#users.size;
  }

  /** All clients, the oldest first. */
  get all(): Iterable<Client> {
    return this.#subscriptions.keys();
  }

  /** A client's subscriptions; undefined for one that is not connected. */
  subscriptionsOf(client: Client): Set<Subscription> | undefined {
    return this.#subscriptions.get(client);
  }

  /** The clients with an id: several, if one person has several connections. */
  withId(id: string): ReadonlySet<Client> {
    return this.#byId.get(id) ?? NOBODY;
  }

  /** The client without echo that sends on a socket; undefined if it is of another node, or has an echo. */
  withoutEcho(socketId: string): Client | undefined {
    return this.#bySocket.get(socketId);
  }

  add(client: Client): void {
    this.#subscriptions.set(client, new Set());
    let sameId = this.#byId.get(client.id);
    if (sameId === undefined) this.#byId.set(client.id, sameId = new Set());
    sameId.add(client);
    if (!client.echo) this.#bySocket.set(client.socket.id, client);
    this.#users.add(client.user ?? "");
  }

  remove(client: Client): void {
    if (!this.#subscriptions.delete(client)) return;
    const sameId = this.#byId.get(client.id);
    sameId?.delete(client);
    if (!client.echo) this.#bySocket.delete(client.socket.id);
    if (sameId?.size === 0) this.#byId.delete(client.id);
    this.#users.remove(client.user ?? "");
  }
}

const NOBODY: ReadonlySet<Client> = new Set();

/** The error for a client that chose the id of another one. */
export function describeTakenId(id: string): MessagingError {
  return new MessagingError(
    "id_taken",
    `The id "${id}" is taken by a client that is connected: choose another`,
  );
}

/** Why nobody is there for a direct message. */
export function describeMissing(channel: string, id: string): string {
  return channel === directChannel(id)
    ? `No client has the id "${id}": it is not connected, and direct messages are not kept`
    : `No client with the id "${id}" is subscribed to "${channel}": direct messages are not kept`;
}
