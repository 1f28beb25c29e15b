/** Who is on a channel: the hub keeps it, pages, `/who` and protocols read it. Counts are kept, never scanned. */

/** One connection of one client on one channel. */
export interface Member {
  /** The client's id; one client may be on a channel with several connections. */
  readonly id: string;
  readonly name: string | undefined;
  /** Whom its token names; undefined for the anonymous. */
  readonly user?: string | undefined;
  /** What its connection token says of it, and what the subscription's does, as JSON text. */
  readonly info?: string | undefined;
  readonly channelInfo?: string | undefined;
  readonly protocol: string;
  /** When it came, in milliseconds since 1970. */
  readonly since: number;
}

export interface PresenceChange {
  readonly kind: "join" | "leave";
  readonly channel: string;
  readonly member: Member;
}

interface Attendance {
  readonly members: Set<Member>;
  /** Connections by client id, and by user; the anonymous are one user, "". */
  readonly ids: Map<string, number>;
  readonly users: Map<string, number>;
}

/** Members by channel, with the changes announced to whoever watches a channel. */
export class Presence {
  readonly #channels = new Map<string, Attendance>();
  readonly #watchers = new Map<string, Set<(change: PresenceChange) => void>>();

  /** Adds a member, told apart by identity. */
  join(channel: string, member: Member): void {
    let attendance = this.#channels.get(channel);
    if (attendance === undefined) {
      this.#channels.set(channel, attendance = { members: new Set(), ids: new Map(), users: new Map() });
    }
    if (attendance.members.has(member)) return;
    attendance.members.add(member);
    count(attendance.ids, member.id, 1);
    count(attendance.users, member.user ?? "", 1);
    this.#announce({ kind: "join", channel, member });
  }

  /** Removes a member; one that is not there is ignored. */
  leave(channel: string, member: Member): void {
    const attendance = this.#channels.get(channel);
    if (!attendance?.members.delete(member)) return;
    count(attendance.ids, member.id, -1);
    count(attendance.users, member.user ?? "", -1);
    if (attendance.members.size === 0) this.#channels.delete(channel);
    this.#announce({ kind: "leave", channel, member });
  }

  /** The members of a channel, longest there first. */
  list(channel: string): readonly Member[] {
    return [...this.#channels.get(channel)?.members ?? []];
  }

  /** The members of a channel by client id; those that share one are told apart by a number behind a "#". */
  listById(channel: string): ReadonlyMap<string, Member> {
    const counts = new Map<string, number>();
    return new Map(
      this.list(channel).map((member) => {
        const number = (counts.get(member.id) ?? 0) + 1;
        counts.set(member.id, number);
        return [number === 1 ? member.id : `${member.id}#${number}`, member];
      }),
    );
  }

  /** How many connections, different clients and different users are on a channel. */
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
   * @returns ends the watch
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

  #announce(change: PresenceChange): void {
    for (const onChange of this.#watchers.get(change.channel) ?? []) onChange(change);
  }
}

function count(counts: Map<string, number>, key: string, change: number): void {
  const now = (counts.get(key) ?? 0) + change;
  if (now > 0) counts.set(key, now);
  else counts.delete(key);
}
