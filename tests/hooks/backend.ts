/** An application that answers callouts as the test says, and a bare Centrifuge client that brings a cookie. */

export interface Asked {
  readonly kind: string;
  readonly headers: Headers;
  // deno-lint-ignore no-explicit-any -- tests look into what they sent
  readonly body: any;
}

export class Backend implements AsyncDisposable {
  readonly asked: Asked[] = [];
  // deno-lint-ignore no-explicit-any -- whatever JSON a test wants
  answer: (asked: Asked) => any = () => ({ result: {} });
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      const kind = new URL(request.url).pathname.slice(1);
      const asked = { kind, headers: request.headers, body: await request.json() };
      this.asked.push(asked);
      const answer = await this.answer(asked);
      return answer instanceof Response ? answer : Response.json(answer);
    },
  );

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** What it was asked of one kind. */
  of(kind: string): readonly Asked[] {
    return this.asked.filter((asked) => asked.kind === kind);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Speaks the JSON protocol of Centrifuge over a WebSocket that brings a cookie. */
export class CookieClient implements Disposable {
  readonly #socket: WebSocket;
  readonly #replies = new Map<number, (reply: Reply) => void>();
  readonly closed: Promise<CloseEvent>;
  readonly pushes: unknown[] = [];
  #id = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.onclose = resolve);
    socket.onmessage = ({ data }) => {
      for (const line of String(data).split("\n")) {
        const reply = JSON.parse(line);
        if (Object.keys(reply).length === 0) socket.send("{}");
        else if (reply.id === undefined) this.pushes.push(reply.push);
        else this.#replies.get(reply.id)?.(reply);
      }
    };
  }

  static async open(socketUrl: string, cookie: string): Promise<CookieClient> {
    const options = { headers: { cookie } } as unknown as string[];
    const socket = new WebSocket(`${socketUrl}/connection/websocket`, options);
    const client = new CookieClient(socket);
    await new Promise((resolve) => socket.onopen = resolve);
    return client;
  }

  /** Sends a command, such as `{ connect: {} }`, and resolves to its reply. */
  send(command: object): Promise<Reply> {
    const id = ++this.#id;
    const reply = new Promise<Reply>((resolve) => this.#replies.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, ...command }));
    return reply;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

interface Reply {
  readonly error?: { readonly code: number; readonly message: string; readonly temporary?: boolean };
  // deno-lint-ignore no-explicit-any -- tests know what they asked for
  readonly [kind: string]: any;
}

/** The application of most tests: knows ann and bob by their cookies; ann may do everything in private channels. */
export function decide({ kind, headers, body }: Asked): unknown {
  const user = /session=(\w+)/.exec(headers.get("cookie") ?? "")?.[1] ?? "";
  switch (kind) {
    case "connect":
      if (user === "banned") return { disconnect: { code: 4501, reason: "banned" } };
      if (user === "") return { error: { code: 401, message: "log in first" } };
      return { result: { user, info: { name: user }, data: { hello: user } } };
    case "subscribe":
      if (body.user !== "ann") return { error: { code: 403, message: "not yours" } };
      return { result: { info: { role: "owner" }, data: { topic: body.channel } } };
    case "publish":
      if (String(body.data?.text ?? body.data).includes("damn")) {
        return { error: { code: 422, message: "mind your words" } };
      }
      return { result: { data: { text: body.data?.text ?? body.data, by: body.user } } };
    case "rpc":
      return { result: { data: { method: body.method, echo: body.data, user: body.user } } };
    default:
      return { result: {} };
  }
}
