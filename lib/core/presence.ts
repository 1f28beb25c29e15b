/**
 * Presence: the members of channels. The hub adds local members and the cluster remote ones; pages, `/who` and
 * protocols read them. Counts are maintained, never computed by a scan.
 */
import { Tally } from "../base/tally.ts";

/** One connection of one client on one channel. */
export interface Member {
  /** The client's id; a client may be on a channel with several connections. */
  readonly id: string;
  readonly name: string | undefined;
  /** The user of its token; undefined for anonymous clients. */
  readonly user?: string | undefined;
  /** The info of its connection token, and of its subscription, as JSON text. */
  readonly info?: string | undefined;
  readonly channelInfo?: string | undefined;
  readonly protocol: string;
  /** When it connected, in milliseconds since 1970. */
  readonly since: number;
  /** The node it is connected to; undefined for a local member. */
  readonly node?: string;
}

export interface PresenceChange {
  readonly kind: "join" | "leave";
  readonly channel: string;
  readonly member: Member;
}

interface Attendance {
  /** The members, and how often each was added. */
  readonly members: Map<Member, number>;
  /** Connections by client id and by user; anonymous clients share the user "". */
  readonly ids: Tally;
  readonly users: Tally;
}

/** Members by channel; watchers of a channel are told of changes. */
export class Presence {
  readonly #channels = new Map<string, Attendance>();
  readonly #watchers = new Map<string, Set<(change: PresenceChange) => void>>();
  readonly #observers = new Set<(change: PresenceChange) => void>();

  /**
   * Adds a member. Members are compared by object identity; one that is there already is counted, for subscriptions to a
   * channel by the same member, of which a client may have several.
   */
  join(channel: string, member: Member): void {
    let attendance = this.#channels.get(channel);
    if (attendance === undefined) {
      this.#channels.set(channel, attendance = { members: new Map(), ids: new Tally(), users: new Tally() });
    }
    const count = attendance.members.get(member) ?? 0;
    attendance.members.set(member, count + 1);
    if (count > 0) return;
    attendance.ids.add(member.id);
    attendance.users.add(member.user ?? "");
    this.#announce({ kind: "join", channel, member });
  }

  /** Removes a member that was added once; takes back one addition of another, and of one that is not there nothing. */
  leave(channel: string, member: Member): void {
    const attendance = this.#channels.get(channel);
    const count = attendance?.members.get(member);
    if (attendance === undefined || count === undefined) return;
    if (count > 1) return void attendance.members.set(member, count - 1);
    attendance.members.delete(member);
    attendance.ids.remove(member.id);
    attendance.users.remove(member.user ?? "");
    if (attendance.members.size === 0) this.#channels.delete(channel);
    this.#announce({ kind: "leave", channel, member });
  }

  /** The channels that have members. */
  channels(): Iterable<string> {
    return this.#channels.keys();
  }

  /** The members of a channel, in the order they joined. */
  list(channel: string): readonly Member[] {
    return [...this.#channels.get(channel)?.members.keys() ?? []];
  }

  /**
   * The members of a channel by client id. Members that share an id are numbered by when they connected, the same on
   * all nodes: `id`, `id#2`, `id#3`.
   */
  listById(channel: string): ReadonlyMap<string, Member> {
    return new Map(this.byId(channel));
  }

  /** The same one by one, as they are when this is called: there may be more than one turn should look at. */
  byId(channel: string): Iterable<readonly [id: string, member: Member]> {
    const members = this.list(channel);
    if (members.length === this.#channels.get(channel)?.ids.size) {
      return members.values().map((member) => [member.id, member] as const);
    }
    // Nodes learn of remote members at different times.
    return number(members.toSorted((a, b) => a.since - b.since));
  }

  /** The numbers of connections, distinct clients and distinct users on a channel. */
  count(channel: string): { readonly connections: number; readonly clients: number; readonly users: number } {
    const attendance = this.#channels.get(channel);
    return {
      connections: attendance?.members.size ?? 0,
      clients: attendance?.ids.size ?? 0,
      users: attendance?.users.size ?? 0,
    };
  }

  /**
   * Calls back for each join and leave on a channel from now on.
   *
   * @returns a function that ends the watch
   */
  watch(channel: string, onChange: (change: PresenceChange) => void): () => void {
    let watchers = this.#watchers.get(channel);
    if (watchers === undefined) this.#watchers.set(channel, watchers = new Set());
    watchers.add(onChange);
    return () => {
      watchers.delete(onChange);
      if (watchers.size === 0 && this.#watchers.get(channel) === watchers) this.#watchers.delete(channel);
    };
  }

  /** The number of connections that a client has on a channel. */
  countConnections(channel: string, id: string): number {
    return this.#channels.get(channel)?.ids.count(id) ?? 0;
  }

  /**
   * Calls back for each join and leave on any channel, after it has taken effect. The observer must be quick and must
   * not throw.
   *
   * @returns a function that removes the observer
   */
  observe(onChange: (change: PresenceChange) => void): () => void {
    this.#observers.add(onChange);
    return () => this.#observers.delete(onChange);
  }

  #announce(change: PresenceChange): void {
    for (const onChange of this.#observers) onChange(change);
    for (const onChange of this.#watchers.get(change.channel) ?? []) onChange(change);
  }
}

function* number(members: readonly Member[]): Iterable<readonly [id: string, member: Member]> {
  const counts = new Map<string, number>();
  for (const member of members) {
    const number = (counts.get(member.id) ?? 0) + 1;
    counts.set(member.id, number);
    yield [number === 1 ? member.id : `${member.id}#${number}`, member];
  }
}
