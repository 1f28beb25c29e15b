/** One simulated subscriber over all its connections, and what the oracle expects of them: once, in order, or a gap told. */
import { matchesSelector, type Selector, selectPatterns } from "../../lib/core/channel.ts";
import type { Connection } from "../../lib/core/limits.ts";
import type { Cursor } from "../../lib/core/log.ts";
import { formatId, type Message } from "../../lib/core/message.ts";
import { parseResumeId, type ResumeId } from "../../lib/core/resume_id.ts";
import type { SocketHandler } from "../../lib/core/socket.ts";
import { openPlainSession } from "../../lib/protocols/url/plain.ts";
import { type Book, Broken, type Entry, RULES } from "./book.ts";
import type { SimulatedNode } from "./node.ts";
import type { SessionKind, Since } from "./plan.ts";
import { type Notice, OpeningSession, StreamSession } from "./sessions.ts";
import { SimulatedSocket } from "./socket.ts";
import { START, type VirtualTime } from "./virtual_time.ts";
import type { Random } from "../soak/random.ts";

/** What a subscriber shares with the rest of the simulation. */
export interface Surroundings {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly book: Book;
  note(line: () => string): void;
  /** Runs what may find a broken promise, outside the code under test. */
  check(task: () => void): void;
}

/** A connection of a subscriber. */
interface Line {
  readonly node: SimulatedNode;
  readonly socket: SimulatedSocket;
  readonly handler: SocketHandler;
  /** Transient messages that must arrive unless it breaks. */
  readonly expected: Set<string>;
  /** Whether it has no history to replay: messages come in the order of their announcements. */
  readonly isLive: boolean;
  /** Whether it broke, or was closed, or its node is gone. */
  ended: boolean;
  /** The number of the last announcement it has received. */
  heard: number;
}

/** What a connection that is not plain gets, alone or in a list. */
type Part = Notice | { readonly data: string };

/** The epoch that a node names which has not reached its engine yet. */
const UNKNOWN_EPOCH = "0";

/** An offset that no schedule reaches. */
const FAR = 100_000;

type Wanted = (entry: Entry) => boolean;

export class Subscriber {
  readonly index: number;
  readonly id: string;
  readonly #world: Surroundings;
  selector: Selector = selectPatterns(["a"]);
  #kind: SessionKind = "plain";
  line: Line | undefined;
  #lines = 0;
  #position: Extract<Cursor, { kind: "id" }> | undefined;
  /** Where it begins: what must come to it. */
  #wants: Wanted = () => false;
  #cursor: Cursor | undefined;
  #limit: number | undefined;
  /** Which node brought a transient message. */
  readonly #transientFrom = new Map<string, SimulatedNode>();
  readonly #received = new Set<string>();
  readonly #excused = new Set<string>();
  readonly #sockets = new Set<string>();
  #last: { epoch: string; sequence: number } | undefined;
  /** Whether it reads from the earliest and has received nothing yet: what goes until then is no gap. */
  #isUnread = false;
  /** Whether it is subscribed as far as it is concerned, connected or not. */
  active = false;

  constructor(index: number, world: Surroundings) {
    this.index = index;
    this.id = `c${index}`;
    this.#world = world;
  }

  get isConnected(): boolean {
    return this.line !== undefined && !this.line.ended;
  }

  /** Begins anew, with another subscription. */
  subscribe(
    node: SimulatedNode,
    kind: SessionKind,
    to: readonly string[],
    since: Since,
    limit?: number,
  ): void {
    this.drop(0);
    this.selector = selectPatterns(to);
    this.#kind = kind;
    this.#received.clear();
    this.#excused.clear();
    this.#last = undefined;
    this.#limit = kind === "opening" ? undefined : limit;
    this.#isUnread = since.kind === "earliest";
    this.active = true;
    this.#begin(node, since);
    this.#connect(node, this.#cursor, this.#limit);
  }

  #begin(node: SimulatedNode, since: Since): void {
    const { epoch, sequence } = node.hub.top;
    this.#position = { kind: "id", epoch, sequence };
    switch (since.kind) {
      case "now":
        this.#cursor = undefined;
        if (epoch === UNKNOWN_EPOCH) {
          const { now } = this.#world.time;
          this.#wants = ({ begun }) => begun >= now;
        } else this.#wants = ({ announced }) => announced!.message.sequence > sequence;
        return;
      case "earliest":
        this.#cursor = since;
        this.#position = { kind: "id", epoch, sequence: 0 };
        this.#wants = () => true;
        return;
      case "offset": {
        this.#cursor = since;
        this.#position = undefined;
        // A position far beyond the end is none of this engine: everything follows it. A near one may come to be.
        this.#wants = ({ announced }) => since.offset >= FAR || announced!.message.offset > since.offset;
        return;
      }
      case "ago": {
        const time = START + Math.floor(this.#world.time.now) + node.owner.clockError - since.milliseconds;
        this.#cursor = { kind: "time", time };
        this.#position = undefined;
        this.#wants = ({ announced }) => announced!.message.time >= time;
        return;
      }
    }
  }

  /** Connects again, where it was. */
  resume(node: SimulatedNode): void {
    if (!this.active || this.isConnected) return;
    this.#connect(node, this.#position ?? this.#cursor, undefined);
  }

  #connect(node: SimulatedNode, since: Cursor | undefined, limit: number | undefined): void {
    const { time, random, note } = this.#world;
    const { connections, hub } = node.services;
    const { selector, id } = this;
    // Lists and patterns are for those with an API key.
    const pass = selector.channel === undefined ? node.operator : node.pass;
    const denied = pass.deny("subscribe", selector);
    if (denied !== undefined) throw new Broken(`${id} may subscribe, and was refused: ${denied.message}`);
    const socketId = `${id}.${++this.#lines}`;
    note(() => `${id} connects to ${node.name}: ${selector.key} since ${JSON.stringify(since)}`);
    const open = (connection: Connection): SocketHandler => {
      const request = { id, selector, connection, since, limit };
      const onGap = () => this.#judgeGap(since, node);
      if (this.#kind === "stream") return new StreamSession(node.services, { ...request, onGap });
      if (this.#kind === "opening") return new OpeningSession(node.services, { ...request, onGap });
      return openPlainSession(node.services, { ...request, choseId: true, name: undefined, pass });
    };
    const upgrade = (handler: SocketHandler): Response => {
      const peer = {
        receive: (data: string) => this.#world.check(() => this.#receive(line, data)),
        closed: (code: number, reason: string) => this.#world.check(() => this.#closed(line, code, reason)),
      };
      const socket = new SimulatedSocket({ time, random, owner: node.owner, id: socketId, handler, peer });
      const isLive = since === undefined && this.#kind !== "opening";
      const line: Line = { node, socket, handler, expected: new Set(), isLive, ended: false, heard: 0 };
      this.line = line;
      this.#sockets.add(socketId);
      handler.open(socket);
      return ANSWER;
    };
    if (hub.draining) return;
    connections.upgrade({ address: `10.0.0.${this.index + 1}`, upgrade }, open);
  }

  say(text: string): boolean {
    const { line } = this;
    if (line === undefined || line.ended || this.#kind !== "plain") return false;
    line.socket.say(text);
    return true;
  }

  /** The id of the socket that it would publish on, and where. */
  get speaks():
    | { readonly socketId: string; readonly channel: string; readonly node: SimulatedNode }
    | undefined {
    const { line, selector: { channel } } = this;
    if (line === undefined || line.ended || this.#kind !== "plain" || channel === undefined) return undefined;
    return { socketId: line.socket.id, channel, node: line.node };
  }

  stall(): void {
    this.line?.socket.stall();
  }

  unstall(): void {
    this.line?.socket.resume();
  }

  /** Its connection breaks; the server notices after so many milliseconds. */
  drop(noticed: number): void {
    const { line } = this;
    if (line === undefined) return;
    line.ended = true;
    line.socket.lose(noticed);
  }

  /** Its node is gone. */
  lose(node: SimulatedNode): void {
    if (this.line?.node !== node) return;
    this.line.ended = true;
    this.line.socket.vanish();
  }

  /** Leaves for good. */
  leave(): void {
    this.active = false;
    this.drop(0);
  }

  /** A node announces a message that it delivers in the same step. */
  expect(node: SimulatedNode, entry: Entry): void {
    const { line } = this;
    if (line === undefined || line.ended || line.node !== node || !line.socket.isOpen || !entry.transient) {
      return;
    }
    if (!this.#isFor(entry) || this.#limit !== undefined || RULES.for(entry.channel).conflate) return;
    if (entry.socketId === line.socket.id) return;
    line.expected.add(entry.text);
  }

  #isFor({ channel, to }: Entry): boolean {
    if (to !== undefined && to !== this.id) return false;
    return channel === `@${this.id}` || matchesSelector(this.selector, channel);
  }

  #receive(line: Line, data: string): void {
    if (line !== this.line || line.ended) return;
    if (this.#isUnread) this.#excuse();
    this.#isUnread = false;
    if (this.#kind === "plain") return this.#take(line, data);
    const parsed = JSON.parse(data) as Part | readonly Part[];
    for (const part of Array.isArray(parsed) ? parsed : [parsed]) {
      if ("data" in part) this.#take(line, part.data);
      else this.#notice(part);
    }
  }

  #take(line: Line, payload: string): void {
    const { book, note } = this.#world;
    const entry = book.find(payload);
    const { text, announced } = entry;
    note(() => `${this.id} receives ${text}`);
    if (announced === undefined) throw new Broken(`${this.id} received ${text} before it was stored`);
    if (!this.#isFor(entry)) throw new Broken(`${this.id} received ${text}, which is not for it`);
    if (this.#kind === "plain" && entry.socketId === line.socket.id) {
      throw new Broken(`${this.id} received ${text}, which it sent itself on this connection`);
    }
    if (this.#received.has(text)) {
      // A transient message has no position: two nodes bring it to whoever changes from one to the other meanwhile.
      if (entry.transient && this.#transientFrom.get(text) !== line.node) return;
      throw new Broken(`${this.id} received ${text} twice`);
    }
    if (entry.transient) this.#transientFrom.set(text, line.node);
    this.#received.add(text);
    line.expected.delete(text);
    if (entry.transient) return;
    this.#checkOrder(announced.message, text);
  }

  #checkOrder(message: Message, text: string): void {
    const { epoch, sequence } = message;
    const last = this.#last;
    if (last !== undefined && last.epoch === epoch && last.sequence > sequence) {
      throw new Broken(`${this.id} received ${text} (${sequence}) after ${last.sequence}: out of order`);
    }
    this.#last = { epoch, sequence };
    this.#position = { kind: "id", epoch, sequence };
  }

  #notice(notice: Notice): void {
    if ("open" in notice) return this.#place(notice.open);
    this.#world.note(() => `${this.id} is told of ${JSON.stringify(notice)}`);
    if ("gap" in notice) {
      this.#excuse();
      return this.#place(notice.gap);
    }
    const { sequence } = parseId(notice.skip);
    for (const entry of this.#matching()) {
      if (entry.announced.message.sequence <= sequence) this.#excused.add(entry.text);
    }
  }

  #place(id: string): void {
    this.#position = { kind: "id", ...parseId(id) };
  }

  #closed(line: Line, code: number, reason: string): void {
    line.ended = true;
    if (line !== this.line) return;
    this.#world.note(() => `${this.id} is closed: ${code} ${reason.slice(0, 40)}`);
    if (code === 4410) {
      const [, id] = /since=(\S+)$/.exec(reason) ?? [];
      if (id === undefined) {
        throw new Broken(`${this.id} was told of a gap, and not from where to go on: ${reason}`);
      }
      this.#excuse();
      this.#judgeGap(this.#position ?? this.#cursor);
      this.#place(id);
    }
    if (code === 1000) this.#reachLimit();
  }

  #reachLimit(): void {
    if (this.#limit === undefined || this.#received.size < this.#limit) {
      throw new Broken(
        `${this.id} was closed after ${this.#received.size} messages, with a limit of ${this.#limit}`,
      );
    }
    this.active = false;
  }

  /** What may be gone now need not come any more. */
  #excuse(): void {
    for (const entry of this.#matching()) {
      if (this.#world.book.mayBeGone(entry)) this.#excused.add(entry.text);
    }
  }

  /** A gap is told only where something after the cursor may be gone. */
  #judgeGap(since: Cursor | undefined, node = this.line?.node): void {
    // An offset may be beyond the end, and so may a time when the clock was set back.
    if (since?.kind !== "id" || since.epoch === UNKNOWN_EPOCH) return;
    const { book, check } = this.#world;
    // An engine that has loaded a stream knows of purged records which they were, not how many messages they held: it
    // takes them for full, and so may tell a gap to who has seen the last one.
    const from = node?.hasLoaded ? 0 : since.sequence;
    const isAfter = ({ epoch, sequence }: Message) => epoch !== since.epoch || sequence > from;
    for (const entry of this.#matching()) {
      if (isAfter(entry.announced.message) && book.mayBeGone(entry)) return;
    }
    if (book.hasUnknown((channel) => matchesSelector(this.selector, channel))) return;
    check(() => {
      throw new Broken(`${this.id} was told of a gap after ${JSON.stringify(since)}, and nothing is gone`);
    });
  }

  #matching() {
    return this.#world.book.stored((channel) => matchesSelector(this.selector, channel));
  }

  /** At rest: whether everything has come that must come. */
  judge(): void {
    if (!this.active || this.line === undefined) return;
    const { expected } = this.line;
    const [transient] = expected;
    if (this.isConnected && transient !== undefined) {
      throw new Broken(`${this.id} never received ${transient}`);
    }
    if (this.#limit !== undefined) return;
    if (this.#isUnread) this.#excuse();
    for (const entry of this.#matching()) {
      const { text, announced: { message }, ttl, socketId } = entry;
      if (this.#received.has(text) || this.#excused.has(text) || !this.#wants(entry)) continue;
      if (socketId !== undefined && this.#sockets.has(socketId)) continue;
      // One whose ttl has passed while the subscriber was away is gone without a gap.
      if (ttl !== undefined && (this.#lines > 1 || this.#cursor !== undefined)) continue;
      if (this.#world.book.isReplaced(entry)) continue;
      throw new Broken(
        `${this.id} never received ${text} (${
          formatId(message.epoch, message.sequence)
        }) and was told of no gap`,
      );
    }
  }
}

const ANSWER = new Response();

function parseId(text: string): ResumeId {
  const id = parseResumeId(text);
  if (id === undefined) throw new Broken(`${text} is no id to resume from`);
  return id;
}
