/**
 * Who is on the channels that Pusher clients of this node are subscribed to, and telling them of changes: presence
 * counts connections of all protocols and nodes, a Pusher client sees users.
 */
import type { Hub } from "../../core/hub.ts";
import type { Member, PresenceChange } from "../../core/presence.ts";
import { SliceClock } from "../../base/slices.ts";
import { Turn } from "../../base/turn.ts";
import type { Frame } from "../../core/socket.ts";
import type { MountedApp } from "./apps.ts";
import { type ChannelKind, parseKind } from "./channel_name.ts";
import { encodeFrame, escapeText } from "./frames.ts";

/** What presence calls the sessions of this protocol. */
export const PUSHER = "pusher";

/** A subscriber on this node that is told of changes. */
export interface RoomSubscriber {
  /** The member it is itself, whose arrival it is not told of. */
  readonly user: string | undefined;
  send(frame: Frame): void;
}

/** The rooms of one server. */
export class Rooms {
  readonly #hub: Hub;
  readonly #rooms = new Map<string, Room>();

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /**
   * Adds a subscriber to the room of a channel, from now on to be told of changes. To be called in the same task in
   * which it is told that it has subscribed, and who is there: what came before that is in the answer already, and what
   * comes after must not overtake it.
   */
  enter(app: MountedApp, name: string, subscriber: RoomSubscriber): void {
    const channel = app.prefix + name;
    let room = this.#rooms.get(channel);
    if (room === undefined) this.#rooms.set(channel, room = new Room(this.#hub, app, name));
    room.add(subscriber);
  }

  /** Removes a subscriber, after it has left the channel itself. One that is not there does nothing. */
  leave(app: MountedApp, name: string, subscriber: RoomSubscriber): void {
    const channel = app.prefix + name;
    const room = this.#rooms.get(channel);
    if (room?.remove(subscriber) !== 0) return;
    this.#rooms.delete(channel);
    room[Symbol.dispose]();
  }
}

/** How a user is written in what new subscribers are told, as long as its info is the same. */
interface WrittenUser {
  readonly info: string | undefined;
  readonly id: string;
  readonly entry: string;
}

const written = new WeakMap<Member, WrittenUser>();

/**
 * Who is on a presence channel, as its new subscribers are told: JSON text of `{ count, ids, hash }`, escaped, each user
 * once, longest there first. Users are written once and kept: all of 10,000 took 10 ms for every new subscriber.
 */
export function encodePresence(hub: Hub, channel: string): string {
  const users = new Set<string>();
  let ids = "";
  let entries = "";
  for (const member of hub.presence.list(channel)) {
    const id = toUserId(member);
    if (users.has(id)) continue;
    const comma = users.size === 0 ? "" : ",";
    users.add(id);
    const user = writeUser(member, id);
    ids += comma + user.id;
    entries += comma + user.entry;
  }
  const quote = '\\"';
  return `{${quote}count${quote}:${users.size},${quote}ids${quote}:[${ids}],${quote}hash${quote}:{${entries}}}`;
}

function writeUser(member: Member, userId: string): WrittenUser {
  const info = toInfoText(member);
  const known = written.get(member);
  if (known?.info === info && known !== undefined) return known;
  const id = escapeText(JSON.stringify(userId));
  const user = { info, id, entry: `${id}:${info === undefined ? "null" : escapeText(info)}` };
  written.set(member, user);
  return user;
}

/** The users on a presence channel, each once, longest there first; in slices. */
export async function listUsers(hub: Hub, channel: string): Promise<ReadonlySet<string>> {
  const users = new Set<string>();
  const clock = new SliceClock();
  for (const member of hub.presence.list(channel)) {
    users.add(toUserId(member));
    if (clock.isOver) await clock.next();
  }
  return users;
}

/** Who a member is to Pusher clients: its user, or for clients without one its id. */
export function toUserId(member: Member): string {
  return member.user ?? member.id;
}

/** JSON text of what is known of a member. */
function toInfoText({ channelInfo, info, name }: Member): string | undefined {
  return channelInfo ?? info ?? (name === undefined ? undefined : JSON.stringify({ name }));
}

/** One channel. Disposing it stops watching. */
class Room implements Disposable {
  readonly #subscribers = new Set<RoomSubscriber>();
  readonly #hub: Hub;
  readonly #app: MountedApp;
  readonly #name: string;
  readonly #kind: ChannelKind;
  readonly #stop: () => void;
  /** Connections by user. */
  readonly #users = new Map<string, number>();
  /** Who is told the count at the end of this turn: one subscriber, or all. */
  readonly #countTurn = new Turn<RoomSubscriber | undefined>((to) => this.#tellCount(to));

  constructor(hub: Hub, app: MountedApp, name: string) {
    this.#hub = hub;
    this.#app = app;
    this.#name = name;
    this.#kind = parseKind(name);
    const channel = app.prefix + name;
    for (const member of hub.presence.list(channel)) this.#change(toUserId(member), 1);
    this.#stop = hub.presence.watch(channel, (change) => this.#take(change));
  }

  add(subscriber: RoomSubscriber): void {
    this.#subscribers.add(subscriber);
    if (this.#tellsCounts) this.#countTurn.add(subscriber);
  }

  /** Returns how many are left. */
  remove(subscriber: RoomSubscriber): number {
    this.#subscribers.delete(subscriber);
    return this.#subscribers.size;
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  get #tellsCounts(): boolean {
    return this.#app.subscriptionCounts && !this.#kind.isPresence;
  }

  #take(change: PresenceChange): void {
    if (this.#kind.isPresence) this.#tellMember(change);
    else if (this.#tellsCounts) this.#countTurn.add(undefined);
  }

  /** A user is told of once, however many connections it has. */
  #tellMember({ kind, member }: PresenceChange): void {
    const user = toUserId(member);
    const connections = this.#change(user, kind === "join" ? 1 : -1);
    if (kind === "join" && connections === 1) {
      const info = toInfoText(member);
      const data = `{"user_id":${JSON.stringify(user)}${info === undefined ? "" : `,"user_info":${info}`}}`;
      this.#tell(encodeFrame("pusher_internal:member_added", data, this.#name), user);
    } else if (kind === "leave" && connections === 0) {
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
    for (const subscriber of this.#subscribers) if (subscriber.user !== except) subscriber.send(frame);
  }

  #tellCount(to: readonly (RoomSubscriber | undefined)[]): void {
    const count = this.#hub.countSubscribers(this.#app.prefix + this.#name);
    const data = { subscription_count: count };
    const frame = encodeFrame("pusher_internal:subscription_count", data, this.#name);
    const isForAll = to.includes(undefined);
    const chosen = new Set(to);
    for (const subscriber of this.#subscribers) {
      if (isForAll || chosen.has(subscriber)) subscriber.send(frame);
    }
  }
}
