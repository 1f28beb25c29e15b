/** Remote procedure calls between nodes. The cluster carries them. */

/** The outcome of a call on one node. */
export type Outcome =
  | { readonly kind: "answered"; readonly body: unknown }
  /** The node received the call, and its handler threw. */
  | { readonly kind: "failed"; readonly reason: string }
  /** The node did not answer in time, or is gone: the call may or may not have been carried out. */
  | { readonly kind: "silent" };

/** Carries out a call and returns its result, a plain JSON value. The caller gets the message of what it throws. */
type CallHandler = (body: unknown) => unknown;

interface Call {
  readonly waiting: Set<string>;
  readonly outcomes: Map<string, Outcome>;
  readonly done: () => void;
}

/** Milliseconds that a node has to answer. */
const DEADLINE_MILLISECONDS = 3_000;

export class ClusterCalls {
  readonly #deadline: number;
  readonly #handlers = new Map<string, CallHandler>();
  readonly #calls = new Map<number, Call>();
  #id = 0;

  constructor(deadline = DEADLINE_MILLISECONDS) {
    this.#deadline = deadline;
  }

  /** Sets the handler of a method. */
  handle(method: string, handler: CallHandler): void {
    this.#handlers.set(method, handler);
  }

  /**
   * Sends a call and resolves once each node has answered, is gone, or has timed out.
   *
   * @throws whatever `send` throws
   */
  async call(nodes: readonly string[], send: (id: number) => void): Promise<ReadonlyMap<string, Outcome>> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const outcomes = new Map<string, Outcome>(nodes.map((node) => [node, { kind: "silent" }]));
    const id = ++this.#id;
    send(id);
    if (nodes.length === 0) return outcomes;
    this.#calls.set(id, { waiting: new Set(nodes), outcomes, done: resolve });
    const timer = setTimeout(resolve, this.#deadline);
    await promise;
    clearTimeout(timer);
    this.#calls.delete(id);
    return outcomes;
  }

  /** Carries out a call of another node. */
  async run(method: string, body: unknown): Promise<Outcome> {
    try {
      const handler = this.#handlers.get(method);
      if (handler === undefined) throw new TypeError(`There is no method "${method}"`);
      return { kind: "answered", body: await handler(body) };
    } catch (error) {
      return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Takes the answer of a node. */
  settle(node: string, id: number, outcome: Outcome): void {
    const call = this.#calls.get(id);
    if (!call?.waiting.delete(node)) return;
    call.outcomes.set(node, outcome);
    if (call.waiting.size === 0) call.done();
  }

  /** Stops waiting for a node that is gone. */
  forget(node: string): void {
    for (const id of this.#calls.keys()) this.settle(node, id, { kind: "silent" });
  }

  /** Stops waiting for all nodes. */
  forgetAll(): void {
    for (const { done } of this.#calls.values()) done();
  }
}
