/**
 * Who is on the channels that Pusher clients of this node are subscribed to, and telling them of changes: presence
 * counts connections of all protocols and nodes, a Pusher client sees users.
 */
import type { Hub } from "../../core/hub.ts";
import type { Member, PresenceChange } from "../../core/presence.ts";
import { Turn } from "../../base/turn.ts";
import type { Frame } from "../../core/socket.ts";
import type { MountedApp } from "./apps.ts";
import { type ChannelKind, parseKind } from "./channel_name.ts";
import { encodeFrame } from "./frames.ts";

/** A user of a presence channel, as Pusher clients see it. */
export interface PresentUser {
  readonly id: string;
  /** Parsed. */
  readonly info: unknown;
}

/** What happens on channels, for webhooks. */
export interface RoomEvents {
  occupied(app: MountedApp, channel: string): void;
  vacated(app: MountedApp, channel: string): void;
  memberAdded(app: MountedApp, channel: string, user: string): void;
  memberRemoved(app: MountedApp, channel: string, user: string): void;
  counted(app: MountedApp, channel: string, count: number): void;
}

/** A subscriber on this node that is told of changes. */
export interface RoomSubscriber {
  /** The member it is itself, whose arrival it is not told of. */
  readonly user: string | undefined;
  send(frame: Frame): void;
}

/** The rooms of one server. */
export class Rooms {
  readonly #hub: Hub;
  readonly #events: RoomEvents;
  readonly #rooms = new Map<string, Room>();

  constructor(hub: Hub, events: RoomEvents) {
    this.#hub = hub;
    this.#events = events;
  }

  /** Adds a subscriber to the room of a channel, before it joins the channel itself. */
  enter(app: MountedApp, name: string, subscriber: RoomSubscriber): void {
    const channel = app.prefix + name;
    let room = this.#rooms.get(channel);
    if (room === undefined) this.#rooms.set(channel, room = new Room(this.#hub, this.#events, app, name));
    room.subscribers.add(subscriber);
  }

  /** Removes a subscriber, after it has left the channel itself. */
  leave(app: MountedApp, name: string, subscriber: RoomSubscriber): void {
    const channel = app.prefix + name;
    const room = this.#rooms.get(channel);
    room?.subscribers.delete(subscriber);
    if (room?.subscribers.size !== 0) return;
    this.#rooms.delete(channel);
    room[Symbol.dispose]();
  }
}

/** The users on a presence channel, each once, longest there first. */
export function listUsers(hub: Hub, channel: string): readonly PresentUser[] {
  const users = new Map<string, unknown>();
  for (const member of hub.presence.list(channel)) {
    const id = toUserId(member);
    if (!users.has(id)) users.set(id, toUserInfo(member));
  }
  return [...users].map(([id, info]) => ({ id, info }));
}

/** Who a member is to Pusher clients: its user, or for clients without one its id. */
function toUserId(member: Member): string {
  return member.user ?? member.id;
}

function toUserInfo({ channelInfo, info, name }: Member): unknown {
  const text = channelInfo ?? info;
  if (text !== undefined) return JSON.parse(text);
  return name === undefined ? undefined : { name };
}

/** One channel. Disposing it stops watching. */
class Room implements Disposable {
  readonly subscribers = new Set<RoomSubscriber>();
  readonly #hub: Hub;
  readonly #events: RoomEvents;
  readonly #app: MountedApp;
  readonly #name: string;
  readonly #kind: ChannelKind;
  readonly #stop: () => void;
  /** Connections by user. */
  readonly #users = new Map<string, number>();
  readonly #countTurn = new Turn<true>(() => this.#tellCount());
  #count = 0;

  constructor(hub: Hub, events: RoomEvents, app: MountedApp, name: string) {
    this.#hub = hub;
    this.#events = events;
    this.#app = app;
    this.#name = name;
    this.#kind = parseKind(name);
    const channel = app.prefix + name;
    const members = hub.presence.list(channel);
    for (const member of members) this.#change(toUserId(member), 1);
    this.#count = members.length;
    this.#stop = hub.presence.watch(channel, (change) => this.#take(change));
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  #take({ kind, member }: PresenceChange): void {
    const before = this.#count;
    this.#count += kind === "join" ? 1 : -1;
    if (before === 0) this.#events.occupied(this.#app, this.#name);
    if (this.#count === 0) this.#events.vacated(this.#app, this.#name);
    if (this.#kind.isPresence) this.#tellMember(kind, member);
    else if (this.#app.subscriptionCounts) this.#countTurn.add(true);
  }

  /** A user is told of once, however many connections it has. */
  #tellMember(kind: "join" | "leave", member: Member): void {
    const user = toUserId(member);
    const connections = this.#change(user, kind === "join" ? 1 : -1);
    if (kind === "join" && connections === 1) {
      this.#events.memberAdded(this.#app, this.#name, user);
      const info = toUserInfo(member);
      const data = { user_id: user, ...(info === undefined ? {} : { user_info: info }) };
      this.#tell(encodeFrame("pusher_internal:member_added", data, this.#name), user);
    } else if (kind === "leave" && connections === 0) {
      this.#events.memberRemoved(this.#app, this.#name, user);
      this.#tell(encodeFrame("pusher_internal:member_removed", { user_id: user }, this.#name), user);
    }
  }

  #change(user: string, by: number): number {
    const connections = (this.#users.get(user) ?? 0) + by;
    if (connections > 0) this.#users.set(user, connections);
    else this.#users.delete(user);
    return connections;
  }

  #tell(frame: Frame, except: string): void {
    for (const subscriber of this.subscribers) if (subscriber.user !== except) subscriber.send(frame);
  }

  #tellCount(): void {
    const count = this.#hub.countSubscribers(this.#app.prefix + this.#name);
    this.#events.counted(this.#app, this.#name, count);
    const data = { subscription_count: count };
    const frame = encodeFrame("pusher_internal:subscription_count", data, this.#name);
    for (const subscriber of this.subscribers) subscriber.send(frame);
  }
}
