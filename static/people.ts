/** Who is on the channel: names in their colours, coming and leaving. The channel page shows it. */
import type { ClientInfo, Subscription } from "centrifuge";
import { labelOf, readAuthor } from "./channel_message.ts";
import { hueOf } from "./identity.ts";

/** Names shown at once; the rest is counted. */
const MAX_NAMES = 40;

/** Whoever comes back within this time was never away: it reloaded the page, or took another name. */
const AWAY_MS = 2_000;

/** The connections with one client id. */
interface Connection {
  readonly name: string | undefined;
  /** Whose they are: the same for all connections of a user, and for tabs of one browser under the same name. */
  readonly person: string;
  /** The same for all of a browser or user, whatever their names. */
  readonly owner: string;
  count: number;
}

export interface PeopleOptions {
  readonly list: HTMLElement;
  readonly count: HTMLElement;
  /** The id of this page's own connection. */
  readonly ownClient: () => string | undefined;
  /** Told in words when somebody with a name comes, leaves, or takes another name. */
  readonly onChange: (words: string) => void;
  /** Told whom this page's token names. */
  readonly onOwnUser: (user: string | undefined) => void;
  readonly onLeave: (client: string) => void;
}

export class People {
  readonly #options: PeopleOptions;
  #people = new Map<string, Connection>();
  /** Those who left a moment ago, by person. */
  readonly #leaving = new Map<
    string,
    { readonly name: string; readonly owner: string; readonly timer: number }
  >();
  #isKnown = false;
  #isScheduled = false;

  constructor(options: PeopleOptions) {
    this.#options = options;
  }

  /** How many connections others have here. */
  get others(): number {
    let count = 0;
    for (const person of this.#people.values()) count += person.count;
    return count - (this.#people.has(this.#options.ownClient() ?? "") ? 1 : 0);
  }

  /** What somebody is called. */
  nameOf(client: string): string | undefined {
    return this.#people.get(client)?.name;
  }

  /** Follows who comes to and leaves a channel. */
  follow(subscription: Subscription): void {
    subscription.on("subscribed", () => this.#load(subscription));
    subscription.on("join", ({ info }) => {
      const person = personOf(info);
      const isKnown = this.#isHere(person);
      this.#add(this.#people, info);
      if (!isKnown && info.client !== this.#options.ownClient()) this.#welcome(info, person);
      this.#schedule();
    });
    subscription.on("leave", ({ info }) => {
      const connection = this.#people.get(info.client);
      if (connection === undefined) return;
      if (--connection.count > 0) return this.#schedule();
      this.#people.delete(info.client);
      this.#seeOff(connection);
      this.#options.onLeave(info.client);
      this.#schedule();
    });
  }

  #isHere(person: string): boolean {
    return [...this.#people.values()].some((connection) => connection.person === person);
  }

  #welcome(info: ClientInfo, person: string): void {
    const name = this.nameOf(info.client);
    const owner = ownerOf(info);
    const back = this.#leaving.has(person)
      ? person
      : [...this.#leaving].find(([, left]) => left.owner === owner)?.[0];
    const left = back === undefined ? undefined : this.#leaving.get(back);
    clearTimeout(left?.timer);
    if (back !== undefined) this.#leaving.delete(back);
    if (name === undefined || name === left?.name) return;
    this.#options.onChange(left === undefined ? `${name} is here` : `${left.name} is now ${name}`);
  }

  #seeOff({ person, owner, name }: Connection): void {
    if (name === undefined || this.#isHere(person) || person === this.#ownPerson) return;
    const timer = setTimeout(() => {
      this.#leaving.delete(person);
      this.#options.onChange(`${name} has left`);
    }, AWAY_MS);
    this.#leaving.set(person, { name, owner, timer });
  }

  get #ownPerson(): string | undefined {
    return this.#people.get(this.#options.ownClient() ?? "")?.person;
  }

  async #load(subscription: Subscription): Promise<void> {
    const own = this.#options.ownClient();
    try {
      const { clients } = await subscription.presence();
      const people = new Map<string, Connection>();
      for (const info of Object.values(clients)) this.#add(people, info);
      this.#people = people;
      this.#isKnown = true;
      const user = Object.values(clients).find(({ client }) => client === own)?.user;
      this.#options.onOwnUser(user === "" ? undefined : user);
    } catch {
      // Switched off by a rule, or not for this reader; or the connection is gone, and it is asked for again.
      this.#isKnown = false;
      this.#people.clear();
    }
    this.#schedule();
  }

  #add(people: Map<string, Connection>, info: ClientInfo): void {
    const known = people.get(info.client);
    if (known !== undefined) known.count++;
    else {people.set(info.client, {
        name: labelOf(readAuthor(info)),
        person: personOf(info),
        owner: ownerOf(info),
        count: 1,
      });}
  }

  /** A thousand who come at once are shown once. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setTimeout(() => this.#show(), 50);
  }

  #show(): void {
    this.#isScheduled = false;
    const { list, count, ownClient } = this.#options;
    const own = ownClient() ?? "";
    const ownPerson = this.#ownPerson;
    const names = new Map<string, number>();
    const seen = new Set<string>();
    let [unnamed, total] = [0, 0];
    for (const { name, person, count } of this.#people.values()) {
      // A client id of its own may stand for several connections, which nothing tells apart.
      const isTab = seen.has(person);
      seen.add(person);
      const times = isTab ? 0 : isBrowser(person) ? 1 : count;
      total += times;
      if (person === ownPerson) continue;
      if (name === undefined) unnamed += times;
      else if (times > 0) names.set(name, (names.get(name) ?? 0) + times);
    }
    count.textContent = this.#isKnown ? String(total) : "";
    const lines: [string, HTMLElement][] = [];
    const ownName = this.#people.get(own)?.name;
    if (ownName !== undefined) lines.push([`own ${ownName}`, createName(ownName, "you")]);
    for (const [name, times] of [...names].slice(0, MAX_NAMES)) {
      lines.push([`name ${name} ${times}`, createName(name, times > 1 ? `×${times}` : "")]);
    }
    const rest = Math.max(0, names.size - MAX_NAMES);
    const notes = [rest > 0 && `and ${rest} more`, unnamed > 0 && `${unnamed} without a name`];
    if (!this.#isKnown) notes.push("Who else is here is not shown");
    for (const note of notes) if (note) lines.push([`note ${note}`, createNote(note)]);
    reconcile(list, lines);
  }
}

/** Whose connection it is: a token's user, or the browser that a page says it is of; else nobody knows. */
function ownerOf({ user, client, connInfo }: ClientInfo): string {
  if (user !== "") return `user ${user}`;
  const id: unknown = Object(connInfo).id;
  return typeof id === "string" ? `browser ${id}` : `client ${client}`;
}

/** A name in an address is for one page alone: whoever tries two names in one browser is two. */
function personOf(info: ClientInfo): string {
  const owner = ownerOf(info);
  return owner.startsWith("browser ") ? `${owner} ${readAuthor(info).name}` : owner;
}

function isBrowser(person: string): boolean {
  return !person.startsWith("client ");
}

/** Changes only the lines that changed, so that those who stay do not flicker. */
function reconcile(list: HTMLElement, lines: readonly [string, HTMLElement][]): void {
  const known = new Map([...list.children].map((item) => [(item as HTMLElement).dataset.key ?? "", item]));
  const items = lines.map(([key, item]) => {
    item.dataset.key = key;
    return known.get(key) ?? item;
  });
  list.replaceChildren(...items);
}

function createName(name: string, note: string): HTMLElement {
  const item = document.createElement("li");
  item.className = "person";
  item.style.setProperty("--hue", String(hueOf(name)));
  const label = document.createElement("bdi");
  label.textContent = name;
  item.append(label);
  if (note !== "") {
    const small = document.createElement("small");
    small.textContent = note;
    item.append(" ", small);
  }
  return item;
}

function createNote(text: string): HTMLElement {
  const item = document.createElement("li");
  item.className = "note";
  item.textContent = text;
  return item;
}
