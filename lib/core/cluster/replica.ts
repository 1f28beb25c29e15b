/**
 * What one other node has, as far as it told: kept whole by numbered changes, and made whole again page by page when
 * one is missing. The cluster keeps one for each node it hears.
 */
import type { Change } from "./codec.ts";
import type { ClusterIndex, RemoteClient, RemoteSubscription } from "./index.ts";

/** Changes that may wait while a node's pages are read; beyond that, reading starts anew. */
const MAX_WAITING = 20_000;

type Entry =
  | { readonly kind: "client"; readonly client: RemoteClient }
  | { readonly kind: "subscription"; readonly subscription: RemoteSubscription };

/** Pages read so far, and the changes that came meanwhile. */
interface Reading {
  /** The key after which the next page begins. */
  after: number;
  /** How many changes the node had made when it wrote the first page. */
  from: number | undefined;
  readonly entries: Change[];
}

/** What comes next of a replica: nothing, or asking its node for what it has after a key. */
export type PageRequest = { readonly ask: number } | undefined;

export class Replica {
  readonly #node: string;
  readonly #index: ClusterIndex;
  readonly #entries = new Map<number, Entry>();
  /** The last change that is in here. */
  #sequence = 0;
  #reading: Reading | undefined;
  #waiting = new Map<number, readonly Change[]>();

  constructor(node: string, index: ClusterIndex) {
    this.#node = node;
    this.#index = index;
  }

  /** Whether it holds all that its node had told up to the last message. */
  get isWhole(): boolean {
    return this.#reading === undefined;
  }

  /** What the node says it has changed last. */
  noteSequence(sequence: number): PageRequest {
    return this.#reading === undefined && sequence > this.#sequence ? this.#read() : undefined;
  }

  /** Asks again for what was asked for and did not come. */
  repeatRequest(): PageRequest {
    return this.#reading === undefined ? undefined : { ask: this.#reading.after };
  }

  /** Takes the changes of one turn. */
  applyChanges(sequence: number, changes: readonly Change[]): PageRequest {
    if (this.#reading !== undefined) {
      this.#waiting.set(sequence, changes);
      return this.#waiting.size > MAX_WAITING ? this.#read() : undefined;
    }
    if (sequence <= this.#sequence) return undefined;
    if (sequence > this.#sequence + 1) {
      const request = this.#read();
      this.#waiting.set(sequence, changes);
      return request;
    }
    for (const change of changes) this.#apply(change);
    this.#sequence = sequence;
    return undefined;
  }

  /** Takes a page that was asked for. */
  applyPage(
    page: {
      readonly after: number;
      readonly sequence: number;
      readonly changes: readonly Change[];
      readonly more: boolean;
    },
  ): PageRequest {
    const reading = this.#reading;
    // A page that was asked for twice comes twice.
    if (reading === undefined || page.after !== reading.after) return undefined;
    reading.from ??= page.sequence;
    for (const change of page.changes) reading.entries.push(change);
    const last = page.changes.at(-1);
    if (page.more && last !== undefined) {
      reading.after = last[1];
      return { ask: reading.after };
    }
    return this.#install(reading.entries, reading.from);
  }

  /** Its node is gone, with all it had. */
  clear(): void {
    for (const key of [...this.#entries.keys()]) this.#remove(key);
  }

  #read(): PageRequest {
    this.#reading = { after: 0, from: undefined, entries: [] };
    this.#waiting = new Map();
    return { ask: 0 };
  }

  /**
   * Becomes what the pages say. Those after the first may hold changes that were made while they were read; these are
   * applied once more, which does no harm, as keys are used once. What went meanwhile goes by these changes.
   */
  #install(entries: readonly Change[], sequence: number): PageRequest {
    const waiting = this.#waiting;
    this.#reading = undefined;
    this.#waiting = new Map();
    const keys = new Set(entries.map(([, key]) => key));
    for (const key of [...this.#entries.keys()]) if (!keys.has(key)) this.#remove(key);
    for (const change of entries) this.#apply(change);
    this.#sequence = sequence;
    let request: PageRequest;
    for (const [later, changes] of [...waiting].sort(([a], [b]) => a - b)) {
      // Where one is missing this reads once more, and the rest waits again.
      request = this.applyChanges(later, changes) ?? request;
    }
    return request;
  }

  #apply(change: Change): void {
    const [kind, key] = change;
    if (kind === "gone") return this.#remove(key);
    if (this.#entries.has(key)) return;
    if (kind === "client") {
      const { address, name, ...facts } = change[2];
      const client = this.#index.addClient({ ...facts, name, node: this.#node }, address);
      this.#entries.set(key, { kind, client });
      return;
    }
    const [, , clientKey, selector, channelInfo] = change;
    const entry = this.#entries.get(clientKey);
    if (entry?.kind !== "client") return;
    try {
      const subscription = this.#index.addSubscription(key, entry.client, selector, channelInfo);
      this.#entries.set(key, { kind, subscription });
    } catch (error) {
      // A node of another version: were the rest refused with it, all would be asked for again with every beat.
      if (!(error instanceof SyntaxError)) throw error;
    }
  }

  #remove(key: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    if (entry.kind === "subscription") return this.#index.removeSubscription(entry.subscription);
    for (const subscription of [...entry.client.subscriptions]) {
      this.#entries.delete(subscription.key);
      this.#index.removeSubscription(subscription);
    }
    this.#index.removeClient(entry.client);
  }
}
