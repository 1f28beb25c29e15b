/**
 * What the soak knows: which messages were begun and acknowledged, in which order each channel holds them, and with
 * that what each reader must have got. Publishers and readers report here; a fault is a sentence in `faults`.
 */

import type { Random } from "./random.ts";

/** How many messages a channel keeps at least, as the server's rules have it by default. */
export const KEPT = 1_000;

/** A channel of the play. */
export interface ChannelPlan {
  readonly name: string;
  /** How often publishers pick it, compared to the others. */
  readonly weight: number;
  /** Size of its messages, about, from and to. */
  readonly sizes: readonly [number, number];
}

/** The faults that were found, and what counts the reports. */
export class Ledger {
  readonly faults: string[] = [];
  readonly channels: readonly ChannelLedger[];
  /** Called at the first fault. */
  onFault: () => void = () => {};
  deliveries = 0;
  gaps = 0;
  #serial = 0;

  constructor(plans: readonly ChannelPlan[], kept = KEPT) {
    this.channels = plans.map((plan, index) => new ChannelLedger(this, plan, index, kept));
  }

  /** The channel a message belongs to, by its text. */
  channelOf(text: string): ChannelLedger {
    const channel = this.channels[Number(/^#(\d+):/.exec(text)?.[1] ?? NaN)];
    if (channel === undefined) throw new Error(`A message that nobody sent: ${text.slice(0, 100)}`);
    return channel;
  }

  /** How many messages were begun so far: a clock for what came before what. */
  get serial(): number {
    return this.#serial;
  }

  nextSerial(): number {
    return ++this.#serial;
  }

  fault(text: string): void {
    this.faults.push(text);
    if (this.faults.length === 1) this.onFault();
  }

  /** Looks for what should have come by the end, once every witness has seen the last message. */
  settle(): void {
    for (const channel of this.channels) channel.settle();
  }
}

/** One channel: its messages in the order the witness got them. */
export class ChannelLedger {
  readonly name: string;
  readonly weight: number;
  /** How many messages the server keeps at least. */
  readonly kept: number;
  readonly #sizes: readonly [number, number];
  readonly #ledger: Ledger;
  readonly #index: number;
  /** The texts of begun messages without padding, and when each was begun. */
  readonly #begun = new Map<string, number>();
  readonly #acknowledged = new Map<string, number | undefined>();
  readonly #forbidden = new Set<string>();
  readonly #order: string[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #lastNumbers = new Map<string, number>();
  readonly #tracks = new Set<Track>();

  constructor(ledger: Ledger, plan: ChannelPlan, index: number, kept: number) {
    this.#ledger = ledger;
    this.name = plan.name;
    this.weight = plan.weight;
    this.#sizes = plan.sizes;
    this.#index = index;
    this.kept = kept;
  }

  /** How many messages are known to be stored. */
  get length(): number {
    return this.#order.length;
  }

  /** Bytes of the largest message, about. */
  get largest(): number {
    return this.#sizes[1] + 100;
  }

  /** How many bytes the next message is filled up with. */
  padding(random: Random): number {
    return Math.floor(random.between(...this.#sizes));
  }

  /** How many messages at most are stored: those that were begun. */
  get begun(): number {
    return this.#begun.size;
  }

  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  /** Notes that a publisher is about to send its message of this number, from 0, and returns the key it starts with. */
  begin(publisher: string, number: number): string {
    const key = `#${this.#index}:${publisher}:${number}:`;
    this.#begun.set(key, this.#ledger.nextSerial());
    return key;
  }

  /** Notes that a message which was begun can never be stored. */
  forbid(key: string): void {
    this.#forbidden.add(key);
  }

  /** Notes that the server said a message is stored, and where. */
  acknowledge(key: string, offset?: number): void {
    this.#acknowledged.set(key, offset);
    const index = this.#indexes.get(key);
    if (index !== undefined) this.#checkOffset(key, index);
  }

  /** Takes the next message from the witness, which sees all of them. */
  record(offset: number, text: string): void {
    const key = keyOf(text);
    const fault = (reason: string) => this.#ledger.fault(`${this.name}, offset ${offset}, ${key} ${reason}`);
    if (offset !== this.#order.length + 1) {
      return fault(`came to the witness where offset ${this.#order.length + 1} was due`);
    }
    if (!this.#begun.has(key)) return fault("was sent by nobody");
    if (this.#forbidden.has(key)) return fault("is stored though its request was never finished");
    if (this.#indexes.has(key)) return fault(`is stored twice, first at ${this.#indexes.get(key)! + 1}`);
    const [, publisher = "", number = ""] = key.split(":");
    const due = (this.#lastNumbers.get(publisher) ?? -1) + 1;
    if (Number(number) !== due) return fault(`is stored where number ${due} of its publisher was due`);
    this.#lastNumbers.set(publisher, due);
    this.#order.push(key);
    this.#indexes.set(key, offset - 1);
    this.#checkOffset(key, offset - 1);
    for (const track of this.#tracks) track.catchUp();
  }

  /** Whether every message that was acknowledged is known to be stored. */
  get isComplete(): boolean {
    return [...this.#acknowledged.keys()].every((key) => this.#indexes.has(key));
  }

  keyAt(index: number): string | undefined {
    return this.#order[index];
  }

  indexOf(key: string): number | undefined {
    return this.#indexes.get(key);
  }

  begunAt(key: string): number {
    return this.#begun.get(key) ?? 0;
  }

  /** Follows one reader of the channel. */
  follow(reader: string): Track {
    const track = new Track(this.#ledger, this, reader);
    this.#tracks.add(track);
    return track;
  }

  settle(): void {
    for (const key of this.#acknowledged.keys()) {
      if (!this.#indexes.has(key)) this.#ledger.fault(`${this.name}: ${key} was acknowledged and is lost`);
    }
    for (const track of this.#tracks) track.settle();
  }

  #checkOffset(key: string, index: number): void {
    const offset = this.#acknowledged.get(key);
    if (offset !== undefined && offset !== index + 1) {
      this.#ledger.fault(`${this.name}: ${key} was acknowledged as ${offset} and is stored as ${index + 1}`);
    }
  }
}

type Report =
  | { readonly kind: "message"; readonly key: string; readonly offset: number | undefined }
  /** So many messages had been begun when it came, and messages are kept for this far back. */
  | { readonly kind: "gap"; readonly begun: number; readonly kept: number; readonly certain: boolean }
  | { readonly kind: "from"; readonly offset: number };

/**
 * What one reader got of one channel, across its connections. Reports may run ahead of the witness: they are looked
 * at once it has seen what they are about.
 */
export class Track {
  readonly #ledger: Ledger;
  readonly #channel: ChannelLedger;
  readonly #reader: string;
  #reports: Report[] = [];
  /** Index of the message that is due; undefined before the first one of a reader that came in between. */
  #next: number | undefined;
  /** Where a reader that came in between may start: not before this index, and ... */
  #floor = 0;
  /** ... not behind a message that was begun after this. */
  #openedAt = 0;
  /** Whether the reader asked for all that is stored, and has got nothing yet. */
  #wantsStored = false;
  /** The publisher whose messages this connection does not get, as it is itself. */
  #own: string | undefined;
  #gap: (Report & { kind: "gap" }) | undefined;

  constructor(ledger: Ledger, channel: ChannelLedger, reader: string) {
    this.#ledger = ledger;
    this.#channel = channel;
    this.#reader = reader;
  }

  /** Index of the message that is due, once all reports have been looked at. */
  get next(): number | undefined {
    return this.#next;
  }

  /** Whether nothing more is to come, as far as the witness knows. */
  get isCaughtUp(): boolean {
    return this.isSettled && (this.#next === undefined || this.#skipOwn(this.#next) >= this.#channel.length);
  }

  /** Whether all that was reported has been looked at. */
  get isSettled(): boolean {
    return this.#reports.length === 0;
  }

  /** Before the request of a connection that wants what comes from now on. */
  expectNew(own?: string): void {
    this.#next = undefined;
    this.#floor = this.#channel.length;
    this.#openedAt = Infinity;
    this.#begin(own);
  }

  /** Before the request of a connection that wants all that is stored. */
  expectStored(): void {
    this.#begin(undefined);
    this.#next = 0;
    this.#wantsStored = true;
  }

  /** When a connection that wants what is new is known to be subscribed. */
  opened(): void {
    this.#openedAt = this.#ledger.serial;
  }

  /** Before the request of a connection that goes on where the reader was. */
  expectRest(own?: string): void {
    this.#begin(own);
  }

  /** When the server told a reader behind which offset it starts, or starts over. */
  takeStart(offset: number): void {
    this.#reports.push({ kind: "from", offset });
    this.catchUp();
  }

  take(text: string, offset?: number): void {
    this.#ledger.deliveries++;
    if (this.#wantsStored) this.takeGap(this.#channel.kept, false);
    this.#wantsStored = false;
    this.#reports.push({ kind: "message", key: keyOf(text), offset });
    this.catchUp();
  }

  /**
   * The reader was told that messages are gone.
   *
   * @param kept how many are kept for readers of this kind
   * @param certain whether it was this channel, not one of several
   */
  takeGap(kept = this.#channel.kept, certain = true): void {
    if (certain) this.#ledger.gaps++;
    this.#reports.push({ kind: "gap", begun: this.#channel.begun, kept, certain });
    this.catchUp();
  }

  /** Looks at reports as far as the witness has come. */
  catchUp(): void {
    for (let report = this.#reports[0]; report !== undefined; report = this.#reports[0]) {
      if (report.kind === "gap") this.#openGap(report);
      else if (report.kind === "from") this.#next = report.offset;
      else {
        const index = this.#channel.indexOf(report.key);
        if (index === undefined) return;
        this.#check(report.key, index, report.offset);
      }
      this.#reports.shift();
    }
  }

  /** At the end: whoever reads has got everything. */
  settle(): void {
    if (this.#reports.length > 0) {
      this.#fault(`got ${this.#reports.length} messages that the witness never saw`);
    } else if (!this.isCaughtUp) {
      this.#fault(`is at ${this.#next} of ${this.#channel.length} at the end`);
    }
  }

  #begin(own: string | undefined): void {
    if (!this.isSettled) throw new TypeError(`${this.#reader} connects before it knows where it stands`);
    this.#own = own;
    this.#wantsStored = false;
    this.#gap = undefined;
  }

  #openGap(gap: Report & { kind: "gap" }): void {
    this.#gap = gap;
    const next = this.#next ?? this.#floor;
    // Less than that was stored behind what it had: none of it can be gone.
    if (gap.certain && gap.begun - next < gap.kept) {
      this.#fault(`was told of a gap behind ${next}, of ${gap.begun} messages`);
    }
  }

  #check(key: string, index: number, offset: number | undefined): void {
    if (offset !== undefined && offset !== index + 1) {
      this.#fault(`got ${key} with offset ${offset}, which is stored as ${index + 1}`);
    }
    const gap = this.#gap;
    this.#gap = undefined;
    if (this.#next === undefined) this.#checkFirst(key, index);
    else {
      const next = this.#skipOwn(this.#next);
      const allowed = gap !== undefined && index > next && index <= gap.begun - gap.kept;
      if (index !== next && !allowed) {
        const told = gap === undefined ? "" : `, after a gap told at ${gap.begun}`;
        if (index < next) this.#fault(`got ${key} twice or too late: ${index} where ${next} was due${told}`);
        else {
          this.#fault(
            `misses ${index - next} messages from ${
              this.#channel.keyAt(next)
            } (${next}), got ${index}${told}`,
          );
        }
      }
    }
    this.#next = index + 1;
  }

  /** The first message of a reader that asked for new ones: all it was there for, and none from before. */
  #checkFirst(key: string, index: number): void {
    if (index < this.#floor) this.#fault(`got the old message ${key}`);
    for (let i = this.#floor; i < index; i++) {
      const missed = this.#channel.keyAt(i)!;
      if (this.#channel.begunAt(missed) > this.#openedAt && !this.#isOwn(missed)) {
        return this.#fault(`was subscribed and misses ${missed}`);
      }
    }
  }

  #skipOwn(index: number): number {
    for (let key = this.#channel.keyAt(index); key !== undefined && this.#isOwn(key);) {
      key = this.#channel.keyAt(++index);
    }
    return index;
  }

  #isOwn(key: string): boolean {
    return this.#own !== undefined && key.split(":")[1] === this.#own;
  }

  #fault(reason: string): void {
    this.#ledger.fault(`${this.#reader} on ${this.#channel.name} ${reason}`);
  }
}

/** A message's text without its padding. */
function keyOf(text: string): string {
  return text.slice(0, text.lastIndexOf(":") + 1);
}
