/**
 * Subscriptions to maps until they go live: the client takes the state page by page, then what was published meanwhile,
 * and says each time where it is. The subscriptions of a session own one.
 */
import { selectChannel } from "../../core/channel.ts";
import { MessagingError } from "../../core/errors.ts";
import { MAX_HISTORY_BYTES, MAX_HISTORY_MESSAGES } from "../../core/history.ts";
import type { LogPage, Position } from "../../core/log.ts";
import type { ChannelMap } from "../../core/maps/channel_map.ts";
import { type Admission, admitSubscribe } from "./admission.ts";
import type { Publication, SubscribeRequest } from "./codec.ts";
import type { ChannelOwner } from "./context.ts";
import { ChannelDelivery } from "./delivery.ts";
import { MAP_TYPE, type OnResult, type Start } from "./results.ts";

/** The phases of the protocol. */
const LIVE = 0;
const STREAM = 1;
const STATE = 2;

/** Keys of a page: for a client that does not say, and at most. */
const PAGE_KEYS = 100;
const MAX_PAGE_KEYS = 1_000;
/** Milliseconds after which a client that takes so long must begin anew. */
const MAX_CATCH_UP = 60_000;

/** A client on its way. */
interface CatchUp {
  readonly channel: string;
  readonly map: ChannelMap;
  readonly admission: Admission;
  readonly delivery: ChannelDelivery;
  /** Everything up to here is in what the client got, or will get as state. */
  position: Position;
  /** Whether keys are gone of which no message tells. */
  isVoid: boolean;
  /** When it must be over, by `performance.now()`. */
  readonly deadline: number;
  stop(): void;
}

export interface MapCatchUpsOptions {
  readonly session: ChannelOwner;
  /** Ends a subscription that is live, as its map was cleared. */
  invalidate(channel: string): void;
  /** Goes live. Resolves when the subscription is open, or the connection has ended before. */
  open(
    channel: string,
    start: Start,
    admission: Admission,
    onResult: OnResult,
  ): Promise<void>;
}

export class MapCatchUps {
  readonly #options: MapCatchUpsOptions;
  readonly #all = new Map<string, CatchUp>();
  #closed = false;

  constructor(options: MapCatchUpsOptions) {
    this.#options = options;
  }

  /** The number of clients on their way. */
  get size(): number {
    return this.#all.size;
  }

  /** Forgets a client on its way. Answers whether there was one. */
  drop(channel: string): boolean {
    this.#all.get(channel)?.stop();
    return this.#all.delete(channel);
  }

  /** Forgets all of them; the connection has ended. */
  close(): void {
    this.#closed = true;
    for (const channel of [...this.#all.keys()]) this.drop(channel);
  }

  /**
   * Answers one subscribe command: with a page, or by going live.
   *
   * @param spelling the channel's name as the client wrote it
   * @throws {MessagingError} `history_gone` where the client must begin anew
   */
  async subscribe(
    request: SubscribeRequest,
    onResult: OnResult,
    spelling: string,
  ): Promise<void> {
    const { channel, phase, cursor, recover } = request;
    if (phase !== LIVE && phase !== STREAM && phase !== STATE) {
      throw new MessagingError("bad_request", "The phase of a subscription to a map is 0, 1 or 2");
    }
    const known = this.#all.get(channel);
    const goesOn = phase === STATE ? cursor !== "" : !recover && known !== undefined;
    const catchUp = goesOn ? this.#demand(known) : await this.#begin(request, spelling);
    try {
      if (phase !== STATE) return await this.#goLive(catchUp, request, undefined, onResult);
      const limit = request.limit <= 0 ? PAGE_KEYS : Math.min(request.limit, MAX_PAGE_KEYS);
      const page = catchUp.map.page(cursor || undefined, limit, MAX_HISTORY_BYTES);
      const state = catchUp.delivery.toWholePublications(page.messages);
      if (page.cursor === undefined) return await this.#goLive(catchUp, request, state, onResult);
      await onResult({ type: MAP_TYPE, phase: STATE, cursor: page.cursor, ...catchUp.position, state });
    } catch (error) {
      this.drop(channel);
      throw error;
    }
  }

  #demand(catchUp: CatchUp | undefined): CatchUp {
    if (catchUp === undefined) {
      throw new MessagingError("forbidden", "A page of a map is asked for that the first one did not begin");
    }
    if (!catchUp.isVoid && performance.now() < catchUp.deadline) return catchUp;
    this.drop(catchUp.channel);
    throw beginAnew("the map was cleared meanwhile, or the client took too long");
  }

  async #begin(request: SubscribeRequest, spelling: string): Promise<CatchUp> {
    const { session } = this.#options;
    const { hub } = session.context;
    const { channel, phase, recover, epoch, offset } = request;
    this.drop(channel);
    const delivery = ChannelDelivery.openMap(session, request, spelling);
    const admission = { ...await admitSubscribe(session, request), spelling };
    // Who may not read history takes the state instead, which is what a map is for.
    if (phase !== STATE && !(recover && session.pass.may("history", channel, admission.tie))) {
      throw beginAnew("the client may not recover");
    }
    const map = await hub.maps.find(channel);
    // Nobody would forget it any more.
    if (this.#closed) throw new MessagingError("internal", "The connection has ended");
    const catchUp: CatchUp = {
      channel,
      map,
      admission,
      delivery,
      position: { epoch, offset },
      isVoid: false,
      deadline: performance.now() + MAX_CATCH_UP,
      stop: map.watch(() => catchUp.isVoid = true),
    };
    this.#all.set(channel, catchUp);
    try {
      if (phase === STATE) catchUp.position = await this.#readTop(channel);
    } catch (error) {
      this.drop(channel);
      throw error;
    }
    return catchUp;
  }

  async #readTop(channel: string): Promise<Position> {
    const { hub } = this.#options.session.context;
    const after = { kind: "latest" } as const;
    return (await hub.read({ selector: selectChannel(channel), after, limit: 0 })).position;
  }

  /** Goes live, or answers with a page of what came first where that is too much to come along. */
  async #goLive(
    catchUp: CatchUp,
    request: SubscribeRequest,
    state: readonly Publication[] | undefined,
    onResult: OnResult,
  ): Promise<void> {
    const { channel, admission, delivery, map, position } = catchUp;
    const { open, invalidate } = this.#options;
    const page = await this.#read(catchUp);
    if (page.more) {
      const { epoch } = position;
      if (state !== undefined) return await onResult({ type: MAP_TYPE, phase: STATE, ...position, state });
      const publications = delivery.toWholePublications(page.messages);
      catchUp.position = { epoch, offset: page.messages.at(-1)?.offset ?? position.offset };
      return await onResult({ type: MAP_TYPE, phase: STREAM, ...catchUp.position, publications });
    }
    const { joinLeave, recover } = request;
    const onLive = () => map.watch(() => invalidate(channel));
    const start: Start = {
      ...position,
      recover: true,
      mayRecover: true,
      flag: 0,
      joinLeave,
      delivery,
      map: { delivery, state: state ?? (recover ? undefined : []), onLive },
    };
    await open(channel, start, admission, onResult);
    this.drop(channel);
  }

  async #read({ channel, position }: CatchUp): Promise<LogPage> {
    const page = await this.#options.session.context.hub.read({
      selector: selectChannel(channel),
      after: { kind: "offset", ...position },
      limit: MAX_HISTORY_MESSAGES,
      maxBytes: MAX_HISTORY_BYTES,
    });
    if (page.kind === "complete" && page.position.offset >= position.offset) return page;
    throw beginAnew("what came after that position is not kept any more");
  }
}

function beginAnew(why: string): MessagingError {
  return new MessagingError("history_gone", `unrecoverable position: ${why}`);
}
