/** The official Centrifuge client for tests: made for a variant of it, listened to, and gone when a test ends. */
import type {
  Centrifuge,
  ClientEvents,
  Options,
  Subscription,
  SubscriptionEvents,
  SubscriptionOptions,
  TypedEventEmitter,
} from "centrifuge";

/** One way in which the official client reaches a server. */
export interface ClientVariant {
  readonly name: string;
  /** Makes a client that is not connected yet. `url` is the server's, without a slash at the end. */
  create(url: string, options: Partial<Options>): Centrifuge;
  /** What the client wants as data for a JSON value, and what it hands out. */
  encode(value: unknown): unknown;
  decode(data: unknown): unknown;
}

/** Events that queue up until somebody asks for them. */
export class Inbox<T> {
  readonly unread: T[] = [];
  readonly #waiting: ((event: T) => void)[] = [];

  readonly add = (event: T): void => {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(event);
    else this.unread.push(event);
  };

  next(): Promise<T> {
    const event = this.unread.shift();
    if (event !== undefined) return Promise.resolve(event);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async take(count: number): Promise<T[]> {
    const events: T[] = [];
    while (events.length < count) events.push(await this.next());
    return events;
  }
}

export function listen<K extends keyof ClientEvents>(client: Centrifuge, event: K) {
  const inbox = new Inbox<Parameters<ClientEvents[K]>[0]>();
  client.on(event, inbox.add as ClientEvents[K]);
  return inbox;
}

export function listenTo<K extends keyof SubscriptionEvents>(subscription: Subscription, event: K) {
  const inbox = new Inbox<Parameters<SubscriptionEvents[K]>[0]>();
  (subscription as TypedEventEmitter<SubscriptionEvents>).on(event, inbox.add as SubscriptionEvents[K]);
  return inbox;
}

/** Clients of one test, which are gone when it ends. */
export class Clients implements Disposable {
  readonly #variant: ClientVariant;
  readonly #url: string;
  readonly #clients: Centrifuge[] = [];

  constructor(variant: ClientVariant, { url }: { readonly url: string }) {
    this.#variant = variant;
    this.#url = url;
  }

  create(options: Partial<Options> = {}): Centrifuge {
    const client = this.#variant.create(this.#url, {
      minReconnectDelay: 10,
      maxReconnectDelay: 100,
      emulationEndpoint: `${this.#url}/emulation`,
      ...options,
    });
    this.#clients.push(client);
    return client;
  }

  async connect(options: Partial<Options> = {}): Promise<Centrifuge> {
    const client = this.create(options);
    client.connect();
    await client.ready();
    return client;
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.disconnect();
  }
}

export async function subscribe(
  client: Centrifuge,
  channel: string,
  options: Partial<SubscriptionOptions> = {},
) {
  const subscription = client.newSubscription(channel, { minResubscribeDelay: 10, ...options });
  subscription.subscribe();
  await subscription.ready();
  return subscription;
}

export async function rejection(promise: Promise<unknown>): Promise<number> {
  try {
    await promise;
  } catch (error) {
    return (error as { code: number }).code;
  }
  throw new Error("It was not refused");
}
