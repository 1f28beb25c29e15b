/**
 * Who is in which group of shared subscriptions, for all threads of a process: the thread of the engine has the desk,
 * as what it says comes to every thread in the same place among the messages that are stored.
 */
import type { Message } from "../../core/message.ts";
import type { Stored } from "./stored_message.ts";

/** A member of a group, as other threads know it. */
export interface SeatFacts {
  /** Its thread, and the number it has there. */
  readonly node: string;
  readonly number: number;
  /** Whether it is not offered private channels. */
  readonly isRestricted: boolean;
}

/** A thread asks the desk. */
export type SeatAsk =
  | { readonly kind: "join"; readonly filter: string; readonly seat: SeatFacts }
  | { readonly kind: "leave"; readonly filter: string; readonly node: string; readonly number: number }
  /** Gives a message to another member, as the one it was chosen for has left. */
  | { readonly kind: "hand"; readonly filter: string; readonly message: Stored<Message> };

/** The desk tells all threads. */
export type SeatWord =
  /** With all seats of the group, this one too, if it is the first one of its thread. */
  | {
    readonly kind: "joined";
    readonly filter: string;
    readonly seat: SeatFacts;
    readonly seats?: readonly SeatFacts[] | undefined;
  }
  /** Without a number, all seats of the thread. */
  | { readonly kind: "left"; readonly filter: string; readonly node: string; readonly number?: number }
  | {
    readonly kind: "handed";
    readonly filter: string;
    readonly node: string;
    readonly number: number;
    readonly message: Stored<Message>;
  };

export interface SeatDeskOptions {
  /** Whether a channel is private. */
  isProtected(channel: string): boolean;
  /** Tells all threads, in order. */
  tell(word: SeatWord): void;
}

export class SeatDesk {
  readonly #options: SeatDeskOptions;
  readonly #groups = new Map<string, { seats: readonly SeatFacts[]; next: number }>();

  constructor(options: SeatDeskOptions) {
    this.#options = options;
  }

  /** Takes what a thread asks. */
  hear(ask: SeatAsk): void {
    switch (ask.kind) {
      case "join":
        return this.#join(ask.filter, ask.seat);
      case "leave":
        return this.#leave(ask.filter, ask.node, ask.number);
      case "hand":
        return this.#hand(ask.filter, ask.message);
    }
  }

  /** A thread is gone, with all its members. */
  forget(node: string): void {
    for (const [filter, { seats }] of [...this.#groups]) {
      if (seats.some((seat) => seat.node === node)) this.#leave(filter, node);
    }
  }

  #join(filter: string, seat: SeatFacts): void {
    const { seats = [], next = 0 } = this.#groups.get(filter) ?? {};
    const all = [...seats, seat];
    const isFirst = !seats.some(({ node }) => node === seat.node);
    this.#groups.set(filter, { seats: all, next });
    this.#options.tell({ kind: "joined", filter, seat, ...(isFirst ? { seats: all } : {}) });
  }

  #leave(filter: string, node: string, number?: number): void {
    const group = this.#groups.get(filter);
    if (group === undefined) return;
    group.seats = group.seats.filter((seat) =>
      seat.node !== node || (number !== undefined && seat.number !== number)
    );
    if (group.seats.length === 0) this.#groups.delete(filter);
    this.#options.tell({ kind: "left", filter, node, ...(number === undefined ? {} : { number }) });
  }

  #hand(filter: string, message: Stored<Message>): void {
    const group = this.#groups.get(filter);
    if (group === undefined) return;
    for (let i = 0; i < group.seats.length; i++) {
      const seat = group.seats[group.next++ % group.seats.length]!;
      if (isRestrictedTo(seat, message.channel, this.#options.isProtected)) continue;
      const { node, number } = seat;
      return this.#options.tell({ kind: "handed", filter, node, number, message });
    }
  }
}

/** Whether a member may not get the messages of a channel, though others of its group may. */
export function isRestrictedTo(
  { isRestricted }: SeatFacts,
  channel: string,
  isProtected: (channel: string) => boolean,
): boolean {
  return isRestricted && isProtected(channel);
}
