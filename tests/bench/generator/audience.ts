/** The readers of one channel, and who publishes to them with a number of messages in flight. Jobs drive it. */
import { joinBytes } from "../bytes.ts";
import { encodePublication, type Endpoint } from "./endpoint.ts";
import { createPayload, OrderCheck } from "../numbering.ts";
import type { Connection, Poller } from "./poller.ts";
import { openConnections } from "./opener.ts";

export interface AudienceOptions {
  readonly port: number;
  readonly reader: Endpoint;
  readonly publisher: Endpoint;
  readonly readers: number;
  readonly channel: string;
}

/**
 * Readers that all check that they get every message once and in order. `complete` is the number of the newest message
 * that all of them have.
 */
export class Audience {
  readonly #publisher: Connection;
  readonly #endpoint: Endpoint;
  readonly #channel: string;
  /** How many readers have each message as their newest, from the oldest such message on. */
  readonly #at: number[];
  #complete = 0;
  #published = 0;
  #received = 0;
  readonly #readers: number;

  constructor(poller: Poller, { port, reader, publisher, readers, channel }: AudienceOptions) {
    this.#readers = readers;
    this.#at = [readers];
    const checks = Array.from({ length: readers }, () => new OrderCheck());
    openConnections(poller, {
      port,
      endpoint: reader,
      count: readers,
      channel: () => channel,
      take: (index) => {
        const check = checks[index]!;
        return (buffer, length) => {
          const from = check.last;
          check.feed(buffer, length);
          this.#move(from, check.last);
        };
      },
    });
    const take = () => () => {};
    const options = { port, endpoint: publisher, count: 1, channel: () => channel, take };
    this.#publisher = openConnections(poller, options)[0]!;
    this.#endpoint = publisher;
    this.#channel = channel;
  }

  get complete(): number {
    return this.#complete;
  }

  get published(): number {
    return this.#published;
  }

  /** Deliveries that are under way. */
  get pending(): number {
    return this.#published * this.#readers - this.#received;
  }

  /** Publishes the messages up to a number, all with one write. */
  publishUpTo(number: number, size: number): void {
    const count = number - this.#published;
    if (count <= 0) return;
    const frames: Uint8Array<ArrayBuffer>[] = [];
    while (this.#published < number) {
      const payload = createPayload(++this.#published, size);
      frames.push(encodePublication(this.#endpoint, this.#channel, payload));
    }
    this.#publisher.send(joinBytes(frames));
  }

  /** Notes that one reader, whose newest message was `from`, has come to `to`. */
  #move(from: number, to: number): void {
    if (from === to) return;
    this.#received += to - from;
    const at = this.#at;
    const first = this.#complete;
    while (at.length <= to - first) at.push(0);
    at[from - first]!--;
    at[to - first]!++;
    let done = 0;
    while (at[done] === 0) done++;
    if (done === 0) return;
    at.splice(0, done);
    this.#complete += done;
  }
}
