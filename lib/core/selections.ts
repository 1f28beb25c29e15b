/**
 * Which of an engine's channels a selector selects. Names are looked up, patterns are matched through an index and in
 * slices, and what was found is cached within a limit in bytes. Every engine has one.
 */
import { nextSlice, SliceClock } from "../base/slices.ts";
import { matchesPattern, type Selector } from "./channel.ts";
import { PatternIndex } from "./pattern_index.ts";

/** A channel, as far as selecting it goes. */
export interface Selectable {
  readonly name: string;
  /** Above that of every channel that came before it. A channel that was forgotten and comes back is a new one. */
  readonly id: number;
}

/** The channels of an engine. */
export interface ChannelSource<C extends Selectable> {
  /** All channels, in the order of their ids. */
  readonly all: readonly C[];
  /** How often channels were taken out of the list. */
  readonly forgets: number;
  get(name: string): C | undefined;
}

/** Estimated bytes of what is cached. The newest selection is kept even if it alone is larger. */
const CACHED_BYTES = 8 * 1024 * 1024;
/** With more channels than this, every read of several begins in a slice of its own. */
const FEW_CHANNELS = 256;
/** Bytes of one selected channel in a selection, and of one segment of a pattern. */
const CHANNEL_BYTES = 24;
const SEGMENT_BYTES = 300;

/** The channels of one selector. */
export class Selection<C extends Selectable> {
  readonly #source: ChannelSource<C>;
  readonly #names = new Set<string>();
  readonly #patterns = new PatternIndex<true>();
  /** Patterns of rules such as `chat:*`. There are few of them, and the index has no place for them. */
  readonly #rulePatterns: (readonly string[])[] = [];
  #channels: C[] = [];
  readonly #hides: Selector["hides"];
  readonly #ownBytes: number;
  /** How many of all channels were looked at, and the id of the last of them. */
  #seen = 0;
  #lastId = 0;
  #forgets: number;

  constructor(selector: Selector, source: ChannelSource<C>) {
    this.#source = source;
    this.#forgets = source.forgets;
    this.#hides = selector.hides;
    let segments = 0;
    for (const pattern of selector.patterns) {
      segments += pattern.length;
      if (pattern.some((segment) => /[^*]\*/.test(segment))) this.#rulePatterns.push(pattern);
      else if (pattern.includes("*") || pattern.includes("**")) this.#patterns.add(pattern, true);
      else this.#names.add(pattern.join("/"));
    }
    this.#ownBytes = segments * SEGMENT_BYTES;
    if (this.isOpen) return;
    for (const name of this.#names) {
      const channel = source.get(name);
      if (channel !== undefined && !this.#hides?.(name)) this.#channels.push(channel);
    }
    this.#seen = source.all.length;
    this.#lastId = source.all.at(-1)?.id ?? 0;
  }

  /** Whether it has patterns, which may have selected channels that are forgotten by now. */
  get isOpen(): boolean {
    return this.#patterns.size > 0 || this.#rulePatterns.length > 0;
  }

  /** The names among its patterns that are of no channel now. */
  get unknown(): readonly string[] {
    return [...this.#names].filter((name) => this.#source.get(name) === undefined && !this.#hides?.(name));
  }

  /** Looks at all channels, but for those that come while this returns. @returns undefined when it is done already */
  update(): Promise<void> | undefined {
    const clock = new SliceClock();
    while (this.#hasMore()) {
      this.#look();
      if (clock.isOver) return this.#goOn(clock);
    }
    return undefined;
  }

  async #goOn(clock: SliceClock): Promise<void> {
    while (this.#hasMore()) {
      // Another read of the same selector may have gone on meanwhile.
      if (clock.isOver) await clock.next();
      else this.#look();
    }
  }

  /**
   * All channels that the selector selects now. After an update this looks at the few that came since. The list of an
   * earlier call may grow; when channels are forgotten, another takes its place.
   */
  get channels(): readonly C[] {
    while (this.#hasMore()) this.#look();
    return this.#channels;
  }

  /** Estimated bytes in memory. */
  get bytes(): number {
    return this.#ownBytes + this.#channels.length * CHANNEL_BYTES;
  }

  /** Whether there are channels to look at, after leaving out those that were forgotten. */
  #hasMore(): boolean {
    const { all, forgets } = this.#source;
    if (forgets !== this.#forgets) {
      this.#forgets = forgets;
      this.#channels = this.#channels.filter((channel) => this.#source.get(channel.name) === channel);
      this.#seen = countUpTo(all, this.#lastId);
    }
    return this.#seen < all.length;
  }

  #look(): void {
    const channel = this.#source.all[this.#seen++]!;
    const { name } = channel;
    this.#lastId = channel.id;
    if (!this.#names.has(name) && !this.#matchesPattern(name)) return;
    if (!this.#hides?.(name)) this.#channels.push(channel);
  }

  #matchesPattern(name: string): boolean {
    if (this.#patterns.matches(name)) return true;
    if (this.#rulePatterns.length === 0) return false;
    const segments = name.split("/");
    return this.#rulePatterns.some((pattern) => matchesPattern(pattern, segments));
  }
}

/** How many channels have ids up to this one. */
function countUpTo(all: readonly Selectable[], id: number): number {
  let low = 0;
  let high = all.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (all[middle]!.id <= id) low = middle + 1;
    else high = middle;
  }
  return low;
}

interface Cached<C extends Selectable> {
  readonly selection: Selection<C>;
  bytes: number;
}

/** The selections that were asked for lately. */
export class Selections<C extends Selectable> {
  readonly #source: ChannelSource<C>;
  readonly #maxBytes: number;
  readonly #cache = new Map<string, Cached<C>>();
  #bytes = 0;

  /** @param maxBytes how much may be cached */
  constructor(source: ChannelSource<C>, maxBytes: number = CACHED_BYTES) {
    this.#source = source;
    this.#maxBytes = maxBytes;
  }

  /** Estimated bytes of what is cached. */
  get cachedBytes(): number {
    return this.#bytes;
  }

  /**
   * The selection of a list or pattern, up to date: at once where there are few channels. Else others go first, as
   * reads of many channels take long, and the pages of a replay follow each other in one turn.
   */
  select(selector: Selector): Selection<C> | Promise<Selection<C>> {
    if (this.#source.all.length <= FEW_CHANNELS) return this.#select(selector);
    return nextSlice().then(() => this.#select(selector));
  }

  #select(selector: Selector): Selection<C> | Promise<Selection<C>> {
    const { key } = selector;
    const cached = this.#cache.get(key) ?? { selection: new Selection(selector, this.#source), bytes: 0 };
    // Behind all others, which are forgotten sooner.
    this.#cache.delete(key);
    this.#cache.set(key, cached);
    const { selection } = cached;
    const updating = selection.update();
    if (updating === undefined) {
      this.#keep(key, cached);
      return selection;
    }
    return updating.then(() => {
      this.#keep(key, cached);
      return selection;
    });
  }

  /** Counts what a selection takes by now, and forgets others for it. */
  #keep(key: string, cached: Cached<C>): void {
    if (this.#cache.get(key) === cached) {
      const bytes = cached.selection.bytes + key.length * 2;
      this.#bytes += bytes - cached.bytes;
      cached.bytes = bytes;
    }
    this.#forget();
  }

  #forget(): void {
    for (const [key, cached] of this.#cache) {
      if (this.#bytes <= this.#maxBytes || this.#cache.size === 1) return;
      this.#cache.delete(key);
      this.#bytes -= cached.bytes;
    }
  }
}
