/**
 * The readers of the soak: over bare connections they come in, read, stall, vanish, come back where they were, or
 * start anew, as chance has it. Some talk, too. What they get goes to the ledger.
 */
import type { ChannelLedger } from "./ledger.ts";
import type { Random } from "./random.ts";
import type { Stage } from "./stage.ts";
import type { Track } from "./track.ts";
import { type Item, Wire, type WireKind } from "./wire.ts";

export interface ReaderOptions {
  readonly kind: WireKind;
  readonly channels: readonly ChannelLedger[];
  /** What it asks for: a channel's path, or a pattern's. */
  readonly path: string;
  /** Whether it sends, too; only a plain WebSocket on one channel does. */
  readonly talks?: boolean;
}

/** One connection, and what is known of how it ends. */
interface Session {
  readonly wire: Wire;
  /** Its name as a publisher. */
  readonly publisher: string;
  /** The start of the last message it sent. */
  lastSent: string | undefined;
  /** It goes of its own will. */
  leaving: boolean;
  /** It did not read for a while, and may be cut off for that. */
  stalled: boolean;
  /** It was told that it cannot go on where it was. */
  gone: boolean;
}

/** Milliseconds. */
const SESSION = [500, 12_000] as const;
const SHORT_STALL = [500, 4_000] as const;
const LONG_STALL = [20_000, 60_000] as const;
const SHORT_ABSENCE = [50, 2_000] as const;
const LONG_ABSENCE = [20_000, 80_000] as const;
const BETWEEN_WORDS = [50, 600] as const;

export class SoakReader {
  readonly name: string;
  readonly #stage: Stage;
  readonly #options: ReaderOptions;
  readonly #random: Random;
  readonly #tracks: ReadonlyMap<ChannelLedger, Track>;
  #session: Session | undefined;
  #sessions = 0;
  #lastId: string | undefined;
  #lastSequence = 0;
  #finished = false;

  constructor(stage: Stage, name: string, options: ReaderOptions) {
    this.name = name;
    this.#stage = stage;
    this.#options = options;
    this.#random = stage.createRandom(name);
    this.#tracks = new Map(options.channels.map((channel) => [channel, channel.follow(name)]));
  }

  /** Whether it has got all there is, and what it sent is stored. */
  get isCaughtUp(): boolean {
    const lastSent = this.#session?.lastSent;
    return [...this.#tracks].every(([channel, track]) =>
      track.isCaughtUp && (lastSent === undefined || channel.indexOf(lastSent) !== undefined)
    );
  }

  /** Lives until {@linkcode finish}. */
  async run(): Promise<void> {
    try {
      while (!this.#finished) {
        await this.#live();
        if (this.#finished) return;
        await this.#stage.until(`the witness has come to where ${this.name} is`, () => this.#isSettled);
        await this.#stage.pause(this.#pickAbsence());
      }
    } catch (error) {
      this.#stage.ledger.fault(`${this.name}: ${error instanceof Error ? error.stack : error}`);
    }
  }

  finish(): void {
    this.#finished = true;
    this.#session?.wire.vanish();
  }

  get #isSettled(): boolean {
    return [...this.#tracks.values()].every((track) => track.isSettled);
  }

  #pickAbsence(): number {
    const long = this.#stage.isLong ? 5 : 0;
    switch (this.#random.choose({ none: 30, short: 60, long })) {
      case "none":
        return 0;
      case "short":
        return this.#random.between(...SHORT_ABSENCE);
      case "long":
        return this.#random.between(...LONG_ABSENCE);
    }
  }

  #pickStall(): number {
    const long = this.#stage.isLong ? 3 : 0;
    switch (this.#random.choose({ none: 80, short: 17, long })) {
      case "none":
        return 0;
      case "short":
        return this.#random.between(...SHORT_STALL);
      case "long":
        return this.#random.between(...LONG_STALL);
    }
  }

  /** One connection, from the request to its end. */
  async #live(): Promise<void> {
    const session = this.#session = await this.#connect();
    const { wire } = session;
    if (this.#finished) return wire.vanish();
    const talking = this.#options.talks ? this.#talk(session) : Promise.resolve();
    const life = this.#random.between(...SESSION);
    const stall = this.#pickStall();
    // Whoever stalls stays to see what has become of it.
    const timer = setTimeout(() => void this.#leave(session, talking), life + stall);
    let stallsAt = stall > 0 ? performance.now() + life / 2 : Infinity;
    for (;;) {
      if (performance.now() > stallsAt && !this.#stage.stopping) {
        stallsAt = Infinity;
        session.stalled = true;
        this.#stage.counts.stalls++;
        await this.#stage.pause(stall);
      }
      const items = await wire.read();
      if (items === undefined) break;
      for (const item of items) this.#take(session, item);
    }
    clearTimeout(timer);
    wire.vanish();
    if (!session.leaving && !session.gone && !this.#finished) {
      if (session.stalled) this.#stage.counts.cuts++;
      else this.#stage.ledger.fault(`${this.name} was cut off though it was reading`);
    }
    session.leaving = true;
    await talking;
  }

  /** Goes away, with a word or without. Nobody leaves at the end of the play. */
  async #leave(session: Session, talking: Promise<void>): Promise<void> {
    if (this.#stage.stopping) return;
    session.leaving = true;
    const goodbyes = this.#options.kind === "socket" ? 40 : 0;
    if (this.#random.choose({ vanish: 60, goodbye: goodbyes }) === "vanish") {
      this.#stage.counts.vanished++;
      return session.wire.vanish();
    }
    await talking;
    const { lastSent } = session;
    const [channel] = this.#options.channels;
    if (lastSent !== undefined && channel !== undefined) {
      await this.#stage.until(`${lastSent} is stored`, () => channel.indexOf(lastSent) !== undefined);
    }
    session.wire.sendClose();
  }

  async #connect(): Promise<Session> {
    const { counts, port } = this.#stage;
    const { kind, path } = this.#options;
    const tracks = [...this.#tracks.values()];
    const publisher = `${this.name}.${++this.#sessions}`;
    const own = this.#options.talks ? publisher : undefined;
    const position = this.#findPosition();
    const ways = { rest: position === undefined ? 0 : 80, stored: kind === "lines" ? 4 : 0, new: 20 };
    const way = this.#random.choose(ways);
    counts.connects++;
    if (way === "rest") counts.resumes++;
    for (const track of tracks) {
      if (way === "rest") track.expectRest(own);
      else if (way === "stored") track.expectStored();
      else track.expectNew(own);
    }
    if (way !== "rest") this.#lastId = undefined;
    if (way !== "rest") this.#lastSequence = 0;
    const since = way === "rest" ? position : way === "stored" ? "earliest" : undefined;
    const wire = await Wire.open(kind, port, path, since);
    const session: Session = {
      wire,
      publisher,
      lastSent: undefined,
      leaving: false,
      stalled: false,
      gone: false,
    };
    if (way === "new") {
      if (kind === "socket") await this.#awaitAnswer(session);
      for (const track of tracks) track.opened();
    }
    return session;
  }

  /** Where it goes on: after an id, or on a plain WebSocket, whose messages have none, after an offset. */
  #findPosition(): string | undefined {
    if (this.#options.kind !== "socket") return this.#lastId;
    const [next] = [...this.#tracks.values()].map((track) => track.next);
    return next?.toString();
  }

  /** A WebSocket is open a moment before it is subscribed: who has an answer is. */
  async #awaitAnswer(session: Session): Promise<void> {
    session.wire.send("/time");
    for (;;) {
      const items = await session.wire.read();
      if (items === undefined) throw new Error("The connection ended before the first answer");
      let answered = false;
      for (const item of items) {
        if (item.kind === "message" && !item.text.startsWith("#")) answered = true;
        else this.#take(session, item);
      }
      if (answered) return;
    }
  }

  #take(session: Session, item: Item): void {
    switch (item.kind) {
      case "message":
        if (item.id !== undefined) this.#takeId(item.id);
        this.#trackOf(item.text).take(item.text, item.offset);
        return;
      case "position":
        this.#lastId = item.id;
        return;
      case "gap":
        return this.#takeGap();
      case "close":
        // Without its answer the server would wait for one a while.
        session.wire.sendClose();
        if (item.code !== 4410) return;
        session.gone = true;
        return this.#takeGap();
    }
  }

  /** Ids rise over all channels. */
  #takeId(id: string): void {
    const sequence = Number(id.split("-")[1]);
    if (!(sequence > this.#lastSequence)) {
      this.#stage.ledger.fault(`${this.name} got id ${id} behind ${this.#lastSequence}`);
    }
    this.#lastId = id;
    this.#lastSequence = sequence;
  }

  #takeGap(): void {
    // Of several channels, nobody says which one has it.
    const certain = this.#tracks.size === 1;
    if (!certain) this.#stage.ledger.gaps++;
    for (const [channel, track] of this.#tracks) track.takeGap(channel.kept, certain);
  }

  #trackOf(text: string): Track {
    const channel = this.#stage.ledger.channelOf(text);
    const track = this.#tracks.get(channel);
    if (track === undefined) throw new Error(`A message of ${channel.name}, which nobody asked for`);
    return track;
  }

  /** Sends messages as long as the session lasts. */
  async #talk(session: Session): Promise<void> {
    const [channel] = this.#options.channels;
    if (channel === undefined) return;
    for (let number = 0;; number++) {
      await this.#stage.pause(this.#random.between(...BETWEEN_WORDS));
      if (session.leaving || this.#stage.stopping) return;
      const key = channel.begin(session.publisher, number);
      session.lastSent = key;
      session.wire.send(key + "~".repeat(channel.padding(this.#random)));
    }
  }
}
