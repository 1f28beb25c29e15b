/** One worker, as the thread of the engine sees it: what it is told goes to its port, all of a turn in one message. */
import type { LogPage, Receipt } from "../../core/log.ts";
import { createInterestMemory, InterestReader, InterestWriter, type Places } from "./interest.ts";
import { ALL_CHANNELS } from "../../core/interest.ts";
import {
  addReceipt,
  encodeError,
  encodeMessages,
  type EngineState,
  sizeOf,
  type Tell,
  type TellBatch,
  type WirePage,
} from "./wire.ts";

/** Batches that a worker may leave without a word. */
const MAX_UNSEEN_BATCHES = 1_000;

export interface AttachedWorkerOptions {
  readonly port: MessagePort;
  /** Bytes that it may leave without a word. */
  readonly maxUnseenBytes: number;
  /** The memory with the newest sequence. */
  readonly top: SharedArrayBuffer;
  /** How the engine stands. */
  describe(): EngineState;
}

export class AttachedWorker implements Disposable {
  readonly #port: MessagePort;
  readonly #maxUnseenBytes: number;
  readonly #describe: () => EngineState;
  readonly #interest: InterestReader;
  readonly #subscriptions = new Map<string, () => void>();
  /** The bytes of each batch that it has not dealt with. */
  readonly #sent: number[] = [];
  #behindBytes = 0;
  #tells: Tell[] = [];
  #bytes = 0;
  /** What it was told of the engine last. */
  #told: EngineState | undefined;
  #closed = false;

  constructor({ port, maxUnseenBytes, top, describe }: AttachedWorkerOptions) {
    this.#port = port;
    this.#maxUnseenBytes = maxUnseenBytes;
    this.#describe = describe;
    const interest = createInterestMemory();
    // Until it says what it wants it is told of everything.
    new InterestWriter(interest, () => 0).add(ALL_CHANNELS);
    this.#interest = new InterestReader(interest);
    this.tell(["opened", { interest, top }]);
  }

  /** Whether it wants to be told of a channel's messages. */
  wants(places: Places): boolean {
    return this.#interest.wants(places);
  }

  /** Bytes that were sent to it and that it has not dealt with. */
  get behindBytes(): number {
    return this.#behindBytes;
  }

  /** Sends something with all else of this turn. */
  tell(tell: Tell, bytes = 0): void {
    if (this.#closed) return;
    this.#bytes += bytes;
    if (this.#tells.push(tell) > 1) return;
    // The receipts of a batch are settled in the microtask after its announcement, and go with it.
    queueMicrotask(() => queueMicrotask(() => this.#flush()));
  }

  /** Answers with a value, or an error. */
  settle(id: number, value: Promise<unknown>): void {
    value.then((value) => this.tell(["done", id, value]), (error) => this.#fail(id, error));
  }

  /** Answers with a receipt, which goes with those before it. */
  settleAppend(id: number, receipt: Promise<Receipt>): void {
    receipt.then((receipt) => {
      let last = this.#tells.at(-1);
      if (last?.[0] !== "receipts") this.tell(last = ["receipts", []]);
      addReceipt(last[1], id, receipt);
    }, (error) => this.#fail(id, error));
  }

  settlePage(id: number, page: Promise<LogPage>): void {
    page.then(({ messages, ...page }) => {
      const encoded = encodeMessages(messages);
      this.tell(["page", id, { ...page, messages: encoded } as WirePage], sizeOf(encoded));
    }, (error) => this.#fail(id, error));
  }

  /** Subscribes to a topic of the bus; once, however often it is called. */
  listen(topic: string, subscribe: (listener: (bytes: Uint8Array) => void) => () => void): void {
    if (this.#subscriptions.has(topic)) return;
    this.#subscriptions.set(topic, subscribe((bytes) => this.tell(["bus", topic, bytes], bytes.byteLength)));
  }

  ignore(topic: string): void {
    this.#subscriptions.get(topic)?.();
    this.#subscriptions.delete(topic);
  }

  /** It has dealt with some batches. */
  seen(batches: number): void {
    for (const bytes of this.#sent.splice(0, batches)) this.#behindBytes -= bytes;
  }

  /** Tells it how the engine stands, if that is news. */
  update(): void {
    if (!this.#closed && this.#findNews() !== undefined) this.#flush();
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#behindBytes = 0;
    for (const stop of this.#subscriptions.values()) stop();
    this.#port.close();
  }

  #flush(): void {
    if (this.#closed) return;
    const state = this.#findNews();
    this.#told = state ?? this.#told;
    const tells = this.#tells;
    this.#tells = [];
    this.#sent.push(this.#bytes);
    this.#behindBytes += this.#bytes;
    this.#bytes = 0;
    const isAwaited = this.#behindBytes > this.#maxUnseenBytes || this.#sent.length > MAX_UNSEEN_BATCHES;
    const batch: TellBatch = state === undefined ? { tells, isAwaited } : { tells, isAwaited, state };
    this.#port.postMessage(batch);
  }

  /** How the engine stands, if that is not what it was told last. */
  #findNews(): EngineState | undefined {
    const told = this.#told;
    const state = this.#describe();
    const isSame = told !== undefined && told.generation === state.generation && told.epoch === state.epoch &&
      told.connected === state.connected && told.maxBytes === state.maxBytes &&
      told.isLocal === state.isLocal;
    return isSame ? undefined : state;
  }

  #fail(id: number, error: unknown): void {
    // The details of an unexpected error stay here; the worker's log has its stack.
    this.tell(["failed", id, encodeError(error)]);
  }
}
