/** Maps as the official client mirrors them, and the race that tests run over every engine. */
import assert from "node:assert/strict";
import type {
  Centrifuge,
  MapSubscription,
  MapSubscriptionEvents,
  MapSubscriptionOptions,
  TypedEventEmitter,
} from "centrifuge";
import { Clients, type ClientVariant, Inbox } from "./centrifuge_clients.ts";

/** The events of one kind of a subscription to a map. */
export function listenToMap<K extends keyof MapSubscriptionEvents>(subscription: MapSubscription, event: K) {
  const inbox = new Inbox<Parameters<MapSubscriptionEvents[K]>[0]>();
  (subscription as TypedEventEmitter<MapSubscriptionEvents>).on(event, inbox.add as MapSubscriptionEvents[K]);
  return inbox;
}

/** A map as an application keeps it that follows the client's events. */
export class Mirror {
  readonly subscription: MapSubscription;
  readonly values = new Map<string, unknown>();
  /** How often it got the whole map. */
  syncs = 0;
  readonly #waiting = new Set<() => void>();

  constructor(
    client: Centrifuge,
    channel: string,
    decode: ClientVariant["decode"],
    options: Partial<MapSubscriptionOptions> = {},
  ) {
    const delays = { minResubscribeDelay: 10, maxResubscribeDelay: 50 };
    this.subscription = client.newMapSubscription(channel, { ...delays, ...options });
    this.subscription.on("sync", ({ entries }) => {
      this.syncs++;
      this.values.clear();
      for (const { key, data } of entries) this.values.set(key, decode(data));
      this.#changed();
    });
    this.subscription.on("update", ({ key, data, removed }) => {
      if (removed) this.values.delete(key);
      else this.values.set(key, decode(data));
      this.#changed();
    });
  }

  /** What it says, in the order of keys. */
  get entries(): Record<string, unknown> {
    return Object.fromEntries([...this.values].sort(([a], [b]) => a < b ? -1 : 1));
  }

  async subscribe(): Promise<this> {
    this.subscription.subscribe();
    await this.subscription.ready();
    return this;
  }

  /** Resolves when it says what is expected; the test's own time ends the wait if it never does. */
  async until(isDone: (values: ReadonlyMap<string, unknown>) => boolean): Promise<void> {
    while (!isDone(this.values)) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  #changed(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

/** Calls a method of the HTTP API. */
// deno-lint-ignore no-explicit-any -- answers are looked into by the tests that know what they asked for
export async function callApi(url: string, method: string, request: unknown): Promise<any> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${url}/api/${method}`, {
    method: "POST",
    headers,
    body: JSON.stringify(request),
  });
  const answer = await response.json();
  if (answer.result === undefined) throw new Error(`${method}: ${JSON.stringify(answer)}`);
  return answer.result;
}

/** All keys of a map, as the API pages through them. */
export async function readMap(url: string, channel: string): Promise<Record<string, unknown>> {
  const values: Record<string, unknown> = {};
  let cursor = "";
  do {
    const page = await callApi(url, "map_read_state", { channel, cursor, limit: 7 });
    for (const { key, data } of page.entries) values[key] = data;
    cursor = page.cursor;
  } while (cursor !== "");
  return values;
}

/**
 * Sets and removes keys while clients subscribe in small pages, unsubscribe and come back: in the end all of them, and
 * every node, say the same.
 *
 * @param urls of the nodes
 */
export async function raceMaps(
  urls: readonly string[],
  variant: ClientVariant,
  rounds: number,
): Promise<void> {
  const channel = "race";
  const end = new AbortController();
  const publish = async (publisher: number) => {
    for (let i = 0; !end.signal.aborted; i++) {
      const url = urls[(publisher + i) % urls.length]!;
      const key = `k${(publisher * 7 + i * 5) % 24}`;
      if (i % 4 === 3) await callApi(url, "map_remove", { channel, key });
      else await callApi(url, "map_publish", { channel, key, data: { publisher, i, text: "x".repeat(100) } });
    }
  };
  const publishers = [0, 1, 2].map(publish);
  const mirrors: Mirror[] = [];
  await using stack = new AsyncDisposableStack();
  for (let round = 0; round < rounds; round++) {
    const clients = stack.use(new Clients(variant, { url: urls[round % urls.length]! }));
    const delta = round % 2 === 0 ? { delta: "fossil" as const } : {};
    const client = await clients.connect();
    const mirror = new Mirror(client, channel, variant.decode, { pageSize: 1 + round % 5, ...delta });
    mirrors.push(await mirror.subscribe());
    const back = mirrors[round >> 1]!;
    back.subscription.unsubscribe();
    await back.subscribe();
  }
  end.abort();
  await Promise.all(publishers);
  await callApi(urls[0]!, "map_publish", { channel, key: "end", data: 1 });
  await Promise.all(mirrors.map((mirror) => mirror.until((values) => values.has("end"))));
  const expected = Object.entries(await readMap(urls[0]!, channel)).sort(([a], [b]) => a < b ? -1 : 1);
  assert.ok(expected.length > 2, "The race left nothing");
  for (const mirror of mirrors) assert.deepEqual(Object.entries(mirror.entries), expected);
  for (const url of urls) {
    assert.deepEqual(Object.entries(await readMap(url, channel)), expected);
  }
}
