/** Publishing over HTTP: messages a second that are POSTed, acknowledged, and received by a reader. */
import { Meter } from "../measure.ts";
import { encodePost } from "./endpoint.ts";
import type { PostJob, RateResult } from "./job.ts";
import { createPayload, NumberReader } from "../numbering.ts";
import { openConnections } from "./opener.ts";
import type { Connection, Poller } from "./poller.ts";

const WARM_UP = { inFlight: 32, size: 64, milliseconds: 1_000 };
/** Messages go to these in turn: nchan lost messages when one channel got all of them. */
const CHANNELS = 8;
/** Far less than a POST takes. */
const POST_MICROSECONDS = 1;
const LATIN1 = new TextDecoder("latin1");

/**
 * In flight is what was posted and is not both answered and received; each connection has one request under way. The
 * clock runs until nothing is in flight.
 */
export function post(poller: Poller, job: PostJob): readonly RateResult[] {
  const { pids, loads, warmUpMilliseconds, milliseconds } = job;
  const posters = new Posters(poller, job);
  // Compiles the server's code, which takes a number of requests.
  posters.play(WARM_UP.inFlight, WARM_UP.size, WARM_UP.milliseconds);
  return loads.map(({ inFlight, size }) => {
    posters.play(inFlight, size, warmUpMilliseconds);
    const meter = new Meter(pids);
    return meter.stop(posters.play(inFlight, size, milliseconds));
  });
}

class Posters {
  readonly #poller: Poller;
  readonly #job: PostJob;
  readonly #idle: Poster[] = [];
  /** Messages that the reader has got, by number. */
  readonly #received: boolean[] = [];
  #receivedCount = 0;
  #answered = 0;
  #posted = 0;

  constructor(poller: Poller, job: PostJob) {
    this.#poller = poller;
    this.#job = job;
    const { port, reader } = job;
    openConnections(poller, {
      port,
      endpoint: reader,
      count: CHANNELS,
      channel: nameChannel,
      take: () => {
        const numbers = new NumberReader((number) => this.#receive(number));
        return (buffer, length) => numbers.feed(buffer, length);
      },
    });
  }

  /** Posts for a while, and returns the number of messages when all have arrived. */
  play(inFlight: number, size: number, milliseconds: number): number {
    const before = this.#answered;
    const end = performance.now() + milliseconds;
    while (performance.now() < end) {
      while (this.#posted - this.#arrived < inFlight) this.#post(size);
      this.#turn();
    }
    while (this.#arrived < this.#posted) this.#turn();
    return this.#answered - before;
  }

  #turn(): void {
    // One alone is waited for.
    this.#poller.turn((this.#posted - this.#arrived - 1) * POST_MICROSECONDS);
  }

  get #arrived(): number {
    return Math.min(this.#answered, this.#receivedCount);
  }

  #post(size: number): void {
    const poster = this.#idle.pop() ?? new Poster(this.#poller, this.#job.port, (done) => {
      this.#answered++;
      this.#idle.push(done);
    });
    const channel = nameChannel(++this.#posted % CHANNELS);
    poster.send(encodePost(this.#job.publisher, channel, createPayload(this.#posted, size)));
  }

  #receive(number: number): void {
    if (this.#received[number]) throw new Error(`Message ${number} came twice`);
    if (number > this.#posted) throw new Error(`Message ${number} came and was never posted`);
    this.#received[number] = true;
    this.#receivedCount++;
  }
}

function nameChannel(index: number): string {
  return `post-${index}`;
}

/** A keep-alive connection for one request at a time. */
class Poster {
  readonly #connection: Connection;
  readonly #onAnswer: (poster: Poster) => void;
  #answer = "";

  constructor(poller: Poller, port: number, onAnswer: (poster: Poster) => void) {
    this.#onAnswer = onAnswer;
    this.#connection = poller.connect(
      port,
      (buffer, length) => this.#feed(buffer, length),
      () => {
        throw new Error(`The server ended a connection that posts: ${this.#answer}`);
      },
    );
  }

  send(request: Uint8Array<ArrayBuffer>): void {
    this.#connection.send(request);
  }

  #feed(buffer: Uint8Array<ArrayBuffer>, length: number): void {
    this.#answer += LATIN1.decode(buffer.subarray(0, length));
    const body = this.#answer.indexOf("\r\n\r\n") + 4;
    if (body < 4) return;
    const size = /\r\ncontent-length: *(\d+)/i.exec(this.#answer)?.[1];
    if (size === undefined) throw new Error(`An answer without Content-Length: ${this.#answer}`);
    if (this.#answer.length < body + Number(size)) return;
    if (!/^HTTP\/1\.1 20[0-2] /.test(this.#answer)) throw new Error(`A POST was answered: ${this.#answer}`);
    this.#answer = "";
    this.#onAnswer(this);
  }
}
