/** What one reader of the soak must get of one channel: the ledger makes one for each reader, readers report to it. */
import type { ChannelLedger, Ledger } from "./ledger.ts";

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
export function keyOf(text: string): string {
  return text.slice(0, text.lastIndexOf(":") + 1);
}
