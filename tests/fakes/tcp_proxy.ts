/**
 * A network between client and server that tests can break, or a balancer in front of several servers: a TCP proxy
 * whose connections are cut at will.
 */

/** Passes connections on to ports of this machine, in turn, those that refuse left out. Disposing it cuts them all. */
export class TcpProxy implements AsyncDisposable {
  /** Whether new connections are dropped, until somebody says otherwise. */
  refuses = false;
  readonly #listener: Deno.TcpListener;
  readonly #targets: readonly number[];
  #turn = 0;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #running = new Set<Promise<void>>();

  constructor(...targets: readonly number[]) {
    this.#targets = targets;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.#run(this.#accept());
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Drops every connection there is, without a word to either side, and refuses new ones. */
  cut(): void {
    this.refuses = true;
    for (const connection of this.#open) connection.close();
    this.#open.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #accept(): Promise<void> {
    try {
      for await (const near of this.#listener) {
        if (this.refuses) {
          near.close();
          continue;
        }
        this.#open.add(near);
        this.#run(this.#connect(near));
      }
    } catch {
      // It was closed.
    }
  }

  async #connect(near: Deno.TcpConn): Promise<void> {
    try {
      const far = await this.#reach();
      if (!this.#open.has(near)) return far.close();
      this.#open.add(far);
      await Promise.all([this.#pass(near, far), this.#pass(far, near)]);
    } catch {
      // Nobody listens there at the moment.
    }
    if (this.#open.delete(near)) near.close();
  }

  /** @throws when nobody listens on any of the ports */
  async #reach(): Promise<Deno.TcpConn> {
    const connect = (port: number) => Deno.connect({ hostname: "127.0.0.1", port });
    const first = this.#turn++ % this.#targets.length;
    const [next = 0, ...others] = [...this.#targets.slice(first), ...this.#targets.slice(0, first)];
    let reached = connect(next);
    for (const port of others) reached = reached.catch(() => connect(port));
    return await reached;
  }

  /** Passes bytes on until either side ends. */
  async #pass(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    const buffer = new Uint8Array(65_536);
    try {
      for (;;) {
        const size = await from.read(buffer);
        if (size === null) break;
        for (let sent = 0; sent < size;) sent += await to.write(buffer.subarray(sent, size));
      }
    } catch {
      // It was cut.
    }
    if (this.#open.delete(to)) to.close();
  }

  #run(work: Promise<void>): void {
    const running = work.finally(() => this.#running.delete(running));
    this.#running.add(running);
  }
}
