/** Who is on the channel: names in their colours, coming and leaving. The channel page shows it. */
import type { ClientInfo, Subscription } from "centrifuge";
import { labelOf, readAuthor } from "./channel_message.ts";
import { hueOf } from "./identity.ts";

/** Names shown at once; the rest is counted. */
const MAX_NAMES = 40;

interface Person {
  readonly name: string | undefined;
  /** Connections with that id. */
  count: number;
}

export interface PeopleOptions {
  readonly list: HTMLElement;
  readonly count: HTMLElement;
  /** The id of this page's own connection. */
  readonly ownClient: () => string | undefined;
  /** Told when somebody with a name comes or leaves. */
  readonly onChange: (name: string, kind: "join" | "leave") => void;
  /** Told whom this page's token names. */
  readonly onOwnUser: (user: string | undefined) => void;
  readonly onLeave: (client: string) => void;
}

export class People {
  readonly #options: PeopleOptions;
  #people = new Map<string, Person>();
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
      this.#add(this.#people, info);
      const name = this.nameOf(info.client);
      if (name !== undefined && info.client !== this.#options.ownClient()) {
        this.#options.onChange(name, "join");
      }
      this.#schedule();
    });
    subscription.on("leave", ({ info }) => {
      const person = this.#people.get(info.client);
      if (person === undefined) return;
      if (--person.count > 0) return this.#schedule();
      this.#people.delete(info.client);
      if (person.name !== undefined) this.#options.onChange(person.name, "leave");
      this.#options.onLeave(info.client);
      this.#schedule();
    });
  }

  async #load(subscription: Subscription): Promise<void> {
    const own = this.#options.ownClient();
    try {
      const { clients } = await subscription.presence();
      const people = new Map<string, Person>();
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

  #add(people: Map<string, Person>, info: ClientInfo): void {
    const person = people.get(info.client);
    if (person !== undefined) person.count++;
    else people.set(info.client, { name: labelOf(readAuthor(info)), count: 1 });
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
    const names = new Map<string, number>();
    let [unnamed, total] = [0, 0];
    for (const [client, person] of this.#people) {
      total += person.count;
      if (client === own) continue;
      if (person.name === undefined) unnamed += person.count;
      else names.set(person.name, (names.get(person.name) ?? 0) + person.count);
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
