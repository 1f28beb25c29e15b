/**
 * How the publications of one subscription are written that wants other than all of them, whole: those that pass its
 * filter, as differences from the one before where that was agreed on.
 */
import { createDelta } from "../../base/fossil_delta.ts";
import type { Message } from "../../core/message.ts";
import { encodePayloadJson, type Payload, payloadSize } from "../../core/message.ts";
import type { Frame } from "../../core/socket.ts";
import { compileFilter, type Filter } from "../../core/tag_filter.ts";
import { listTagsWithEvent, type Tags } from "../../core/tags.ts";
import type { Codec, Publication, SubscribeRequest } from "./codec.ts";
import type { ChannelOwner } from "./context.ts";
import { type CentrifugeFormat, toPublication, toPushReply } from "./encoders.ts";

/** The only kind of delta there is. */
const FOSSIL = "fossil";
/** Payloads of more bytes are sent whole: comparing them would hold up others. */
const MAX_DELTA_BYTES = 256 * 1024;

const UTF8 = new TextEncoder();
const NO_TAGS: Tags = new Map();
const NO_BASES: readonly undefined[] = [];

export class ChannelDelivery {
  /** Whether publications are written as deltas. */
  readonly isDelta: boolean;
  readonly #session: ChannelOwner;
  readonly #passes: Filter | undefined;
  /** The channel's name as the client wrote it. */
  readonly #spelling: string;
  /** What the client got last, and makes the next one from: of a map by key, else of the channel. */
  readonly #bases = new Map<string, Message>();
  /** Whether it is of a map, which has no messages without a key. */
  readonly #isMap: boolean;

  private constructor(
    session: ChannelOwner,
    passes: Filter | undefined,
    isDelta: boolean,
    spelling: string,
    isMap: boolean,
  ) {
    this.#session = session;
    this.#spelling = spelling;
    this.#passes = passes;
    this.isDelta = isDelta;
    this.#isMap = isMap;
  }

  /**
   * The delivery that a subscribe request asks for; undefined for everything, whole.
   *
   * @param spelling the channel's name as the client wrote it
   * @throws {MessagingError} `bad_request` for a filter that is not good
   */
  static open(
    session: ChannelOwner,
    { tagsFilter, delta }: Pick<SubscribeRequest, "tagsFilter" | "delta">,
    spelling: string,
  ): ChannelDelivery | undefined {
    const passes = tagsFilter && compileFilter(tagsFilter);
    const isDelta = delta === FOSSIL;
    return passes || isDelta ? new ChannelDelivery(session, passes, isDelta, spelling, false) : undefined;
  }

  /** The delivery of a channel's map. Otherwise the same. */
  static openMap(
    session: ChannelOwner,
    { tagsFilter, delta }: Pick<SubscribeRequest, "tagsFilter" | "delta">,
    spelling: string,
  ): ChannelDelivery {
    const passes = tagsFilter && compileFilter(tagsFilter);
    return new ChannelDelivery(session, passes, delta === FOSSIL, spelling, true);
  }

  /** The publications that answer a subscribe, in order, before any other. */
  toPublications(messages: readonly Message[]): readonly Publication[] {
    return this.#filter(messages).map((message) => this.#toPublication(message, this.#advance(message)));
  }

  /** The same without deltas, for clients that expect none there. */
  toWholePublications(messages: readonly Message[]): readonly Publication[] {
    return this.#filter(messages).map((message) => {
      this.#advance(message);
      return this.#toPublication(message, undefined);
    });
  }

  /** Sends a batch. Returns false if there is no room for it. */
  offer(messages: readonly Message[]): boolean {
    const passing = this.#filter(messages);
    if (passing.length === 0) return true;
    const { client, format } = this.#session;
    const bases = this.isDelta ? passing.map((message) => this.#advance(message)) : NO_BASES;
    const kind = { format, spelling: this.#spelling, isDelta: this.isDelta, bases, passing };
    const frame = shareFrame(messages, kind, () => {
      const replies = passing.map((message, i) =>
        toPushReply(respell(message, this.#spelling), this.#toPublication(message, bases[i]))
      );
      return format.encodeReplies(replies);
    });
    return client.outbox.offer([frame]);
  }

  #filter(messages: readonly Message[]): readonly Message[] {
    const passes = this.#passes;
    const isMap = this.#isMap;
    if (passes === undefined && !isMap) return messages;
    const passing = messages.filter((message) =>
      (!isMap || message.properties?.key !== undefined) &&
      (passes === undefined || passes(listTagsWithEvent(message) ?? NO_TAGS))
    );
    return passing.length === messages.length ? messages : passing;
  }

  /** What the client makes a message from; from now on, that message is what it makes the next one from. */
  #advance(message: Message): Message | undefined {
    if (!this.isDelta) return undefined;
    const { key, removed } = message.properties ?? {};
    const chain = this.#isMap && key !== undefined ? key : "";
    const base = this.#bases.get(chain);
    if (this.#isMap && removed) {
      this.#bases.delete(chain);
      return undefined;
    }
    this.#bases.set(chain, message);
    return base;
  }

  #toPublication(message: Message, base: Message | undefined): Publication {
    const publication = toPublication(message);
    if (!this.isDelta) return publication;
    const bytes = base && shareDelta(this.#session.format.codec, base, message);
    return bytes === undefined
      ? { ...publication, data: { kind: "whole", payload: message.payload } }
      : { ...publication, data: { kind: "delta", bytes }, delta: true };
  }
}

/** The message with its channel's name as a client wrote it. */
export function respell(message: Message, channel: string): Message {
  return message.channel === channel ? message : { ...message, channel };
}

/** How a frame is made of a batch: subscriptions that want the same share it. */
interface FrameKind {
  readonly format: CentrifugeFormat;
  readonly spelling: string;
  readonly isDelta: boolean;
  readonly bases: readonly (Message | undefined)[];
  readonly passing: readonly Message[];
}

const frames = new WeakMap<readonly Message[], { readonly kind: FrameKind; readonly frame: Frame }[]>();
/** Frames of a batch that are kept: with more kinds of subscribers, some are made again. */
const MAX_SHARED_FRAMES = 16;

function shareFrame(messages: readonly Message[], kind: FrameKind, make: () => Frame): Frame {
  let shared = frames.get(messages);
  if (shared === undefined) frames.set(messages, shared = []);
  const { format, spelling, isDelta, bases, passing } = kind;
  const known = shared.find(({ kind: other }) =>
    other.format === format && other.spelling === spelling && other.isDelta === isDelta &&
    isSame(other.bases, bases) && isSame(other.passing, passing)
  );
  if (known !== undefined) return known.frame;
  const frame = make();
  if (shared.length < MAX_SHARED_FRAMES) shared.push({ kind, frame });
  return frame;
}

function isSame<T>(a: readonly T[], b: readonly T[]): boolean {
  return a === b || (a.length === b.length && a.every((message, i) => message === b[i]));
}

/**
 * The delta that leads to a message from the one that a client has; undefined where none is shorter than the message.
 */
interface SharedDelta {
  readonly base: Message;
  readonly bytes: Uint8Array | undefined;
}

const deltas: Readonly<Record<Codec["name"], WeakMap<Message, SharedDelta>>> = {
  json: new WeakMap(),
  protobuf: new WeakMap(),
};

function shareDelta({ name }: Codec, base: Message, message: Message): Uint8Array | undefined {
  const known = deltas[name].get(message);
  if (known?.base === base) return known.bytes;
  const bytes = writeDelta(name, base.payload, message.payload);
  deltas[name].set(message, { base, bytes });
  return bytes;
}

function writeDelta(name: Codec["name"], base: Payload, payload: Payload): Uint8Array | undefined {
  if (payloadSize(base) > MAX_DELTA_BYTES || payloadSize(payload) > MAX_DELTA_BYTES) return undefined;
  const target = toWireBytes(name, payload);
  // What JSON clients get is text.
  const delta = createDelta(toWireBytes(name, base), target, name === "json");
  return delta.length < target.length ? delta : undefined;
}

/** Data as a client has it that got it whole: what the next delta starts from. */
function toWireBytes(name: Codec["name"], payload: Payload): Uint8Array {
  if (name === "json") return UTF8.encode(encodePayloadJson(payload));
  if (payload.kind === "bytes") return payload.bytes;
  return UTF8.encode(payload.kind === "json" ? payload.text : encodePayloadJson(payload));
}
