/** Which channels of an app are occupied, by how many, and which users are on its presence channels: for webhooks. */
import type { Hub } from "../../core/hub.ts";
import type { Member, PresenceChange } from "../../core/presence.ts";
import type { Facts } from "../../core/protocol_webhook.ts";
import type { MountedApp } from "./apps.ts";
import { isChannelName, parseKind } from "./channel_name.ts";
import { PUSHER, toUserId } from "./rooms.ts";

interface Attendance {
  /** Pusher sessions, of all nodes. */
  sessions: number;
  /** Connections by user, on presence channels. */
  readonly users: Map<string, number>;
}

/**
 * The key of a channel is its name in the app, that of a user on a presence channel the name, a space and the user's
 * id. The value of a channel is its count of subscriptions where the app asks for that.
 */
export class ChannelFacts implements Facts {
  readonly #hub: Hub;
  readonly #app: MountedApp;
  readonly #channels = new Map<string, Attendance>();

  constructor(hub: Hub, app: MountedApp) {
    this.#hub = hub;
    this.#app = app;
  }

  watch(onChange: (key: string) => void): () => void {
    const { presence } = this.#hub;
    for (const channel of presence.channels()) {
      for (const member of presence.list(channel)) this.#count(channel, member, 1);
    }
    return presence.observe(({ kind, channel, member }: PresenceChange) => {
      for (const key of this.#count(channel, member, kind === "join" ? 1 : -1)) onChange(key);
    });
  }

  *keys(): Iterable<string> {
    for (const [name, { sessions, users }] of this.#channels) {
      if (sessions > 0) yield name;
      for (const user of users.keys()) yield `${name} ${user}`;
    }
  }

  find(key: string): string | undefined {
    const space = key.indexOf(" ");
    const name = space === -1 ? key : key.slice(0, space);
    const attendance = this.#channels.get(name);
    if (space !== -1) return attendance?.users.has(key.slice(space + 1)) ? "" : undefined;
    if (attendance === undefined || attendance.sessions === 0) return undefined;
    return this.#tellsCount(name) ? String(this.#countSubscriptions(name)) : "";
  }

  describe(key: string, before: string | undefined, after: string | undefined): readonly string[] {
    const space = key.indexOf(" ");
    const isThere = after !== undefined;
    if (space !== -1) {
      const name = isThere ? "member_added" : "member_removed";
      return [JSON.stringify({ name, channel: key.slice(0, space), user_id: key.slice(space + 1) })];
    }
    const events: object[] = [];
    if (before === undefined) events.push({ name: "channel_occupied", channel: key });
    if (isThere && after !== "") {
      events.push({ name: "subscription_count", channel: key, subscription_count: Number(after) });
    }
    if (!isThere) events.push({ name: "channel_vacated", channel: key });
    return events.map((event) => JSON.stringify(event));
  }

  /** Counts a member in or out; returns the keys of what has changed by that. */
  #count(channel: string, member: Member, by: 1 | -1): readonly string[] {
    const { prefix } = this.#app;
    if (!channel.startsWith(prefix)) return [];
    const name = channel.slice(prefix.length);
    if (!isChannelName(name)) return [];
    let attendance = this.#channels.get(name);
    if (attendance === undefined) {
      if (by < 0) return [];
      this.#channels.set(name, attendance = { sessions: 0, users: new Map() });
    }
    const wasOccupied = attendance.sessions > 0;
    if (member.protocol === PUSHER) attendance.sessions += by;
    const isOccupied = attendance.sessions > 0;
    const { isPresence } = parseKind(name);
    const changed: string[] = [];
    if (wasOccupied !== isOccupied || (isOccupied && this.#tellsCount(name))) changed.push(name);
    if (isPresence) {
      const user = toUserId(member);
      const connections = (attendance.users.get(user) ?? 0) + by;
      if (connections > 0) attendance.users.set(user, connections);
      else attendance.users.delete(user);
      if (connections === (by > 0 ? 1 : 0)) changed.push(`${name} ${user}`);
    }
    if (attendance.users.size === 0 && this.#countSubscriptions(name) === 0) this.#channels.delete(name);
    // What is inside of something comes after it, and goes before it.
    return by > 0 ? changed : changed.reverse();
  }

  #tellsCount(name: string): boolean {
    return this.#app.subscriptionCounts && !parseKind(name).isPresence;
  }

  #countSubscriptions(name: string): number {
    return this.#hub.presence.count(this.#app.prefix + name).connections;
  }
}
