/**
 * What the soak knows: which messages were begun and acknowledged, in which order each channel holds them, and with
 * that what each reader must have got. Publishers and readers report here; a fault is a sentence in `faults`.
 */

import type { Random } from "./random.ts";
import { keyOf, Track } from "./track.ts";

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
