/** Calls from node to node: something to be done there, and what came of it. The cluster carries them. */

/** What became of a call on one node. */
export type Outcome =
  | { readonly kind: "answered"; readonly body: unknown }
  /** It was heard, and went wrong there. */
  | { readonly kind: "failed"; readonly reason: string }
  /** The node did not answer in time, or is gone: nobody knows whether it was done. */
  | { readonly kind: "silent" };

/** Does what a call asks for and answers it, with plain JSON values. What it throws is told to the caller. */
type CallHandler = (body: unknown) => unknown;

interface Call {
  readonly waiting: Set<string>;
  readonly outcomes: Map<string, Outcome>;
  readonly done: () => void;
}

/** Milliseconds a node has to answer. */
const DEADLINE_MILLISECONDS = 3_000;

export class ClusterCalls {
  readonly #deadline: number;
  readonly #handlers = new Map<string, CallHandler>();
  readonly #calls = new Map<number, Call>();
  #id = 0;

  constructor(deadline = DEADLINE_MILLISECONDS) {
    this.#deadline = deadline;
  }

  /** Says who answers the calls of a method. */
  handle(method: string, handler: CallHandler): void {
    this.#handlers.set(method, handler);
  }

  /**
   * Sends a call, and resolves when each of the nodes has answered, is gone, or had its time.
   *
   * @throws what `send` throws
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

  /** Does what another node calls for. */
  async run(method: string, body: unknown): Promise<Outcome> {
    try {
      const handler = this.#handlers.get(method);
      if (handler === undefined) throw new TypeError(`There is no method "${method}"`);
      return { kind: "answered", body: await handler(body) };
    } catch (error) {
      return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Takes what a node answered. */
  settle(node: string, id: number, outcome: Outcome): void {
    const call = this.#calls.get(id);
    if (!call?.waiting.delete(node)) return;
    call.outcomes.set(node, outcome);
    if (call.waiting.size === 0) call.done();
  }

  /** A node is gone: it will not answer. */
  forget(node: string): void {
    for (const id of this.#calls.keys()) this.settle(node, id, { kind: "silent" });
  }

  /** Nobody will answer any more. */
  forgetAll(): void {
    for (const { done } of this.#calls.values()) done();
  }
}
