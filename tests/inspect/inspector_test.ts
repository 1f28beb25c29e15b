/** The inspector's side of the server: who may look, what the tables hold, and that looking stays cheap. */
import assert from "node:assert/strict";
import { startApp, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";

const KEY = "a-key-of-sixteen-characters";

async function ask(server: TestApp, path: string, init: RequestInit = {}) {
  const response = await fetch(`${server.url}/_inspect/${path}`, init);
  const text = await response.text();
  return { status: response.status, body: text.startsWith("{") ? JSON.parse(text) : text };
}

async function post(server: TestApp, channel: string, text: string): Promise<void> {
  await (await fetch(`${server.url}/${channel}`, { method: "POST", body: text })).body?.cancel();
}

/** Reads a stream of JSON lines one at a time. */
class Lines implements AsyncDisposable {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(response: Response) {
    this.#reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  }

  static async open(server: TestApp, path: string): Promise<Lines> {
    return new Lines(await fetch(`${server.url}/_inspect/${path}`));
  }

  /** The next line, or undefined when the stream has ended. */
  // deno-lint-ignore no-explicit-any -- as it comes
  async next(): Promise<any> {
    while (!this.#text.includes("\n")) {
      const { done, value } = await this.#reader.read();
      if (done) return undefined;
      this.#text += value;
    }
    const [line = "", ...rest] = this.#text.split("\n");
    this.#text = rest.join("\n");
    return JSON.parse(line);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel();
  }
}

Deno.test("The inspector is for operators as soon as there is a key, but for its page, which is empty", async () => {
  await using server = await startApp(`RAINDROPS_API_KEYS=${KEY}`);
  const paths = [
    "stream",
    "tail?channel=a",
    "channels",
    "lively",
    "tokens",
    "channel?channel=a",
    "clients",
    "client?connection=a",
  ];
  for (const path of paths) {
    const { status, body } = await ask(server, path);
    assert.equal(status, 401, path);
    assert.match(body.detail, /^The inspector needs a key/);
  }
  assert.equal((await ask(server, "disconnect?connection=a", { method: "POST" })).status, 401);
  const headers = { authorization: `apikey ${KEY}` };
  assert.deepEqual(await ask(server, "channels", { headers }), { status: 200, body: { rows: [], total: 0 } });
  const page = await fetch(`${server.url}/_inspect`, { headers: { accept: "text/html" } });
  assert.equal(page.status, 200);
  assert.match(await page.text(), /<title>Inspector/);
});

Deno.test("The inspector lists channels that are read, stored or both, sorted, filtered and paged", async () => {
  await using server = await startApp();
  await using _one = await TestSocket.open(`${server.socketUrl}/read`);
  await using _two = await TestSocket.open(`${server.socketUrl}/read`);
  await Promise.all(
    Array.from({ length: 30 }, (_, i) => post(server, `stored/${String(i).padStart(2, "0")}`, "x")),
  );
  await post(server, "stored/07", "the newest");
  const names = ({ body }: Awaited<ReturnType<typeof ask>>) =>
    body.rows.map(({ channel }: { channel: string }) => channel);

  const bySubscribers = await ask(server, "channels?sort=subscribers&order=descending&limit=2");
  assert.equal(bySubscribers.body.total, 31);
  assert.deepEqual(bySubscribers.body.rows[0], { channel: "read", subscribers: 2, rate: 0, stored: 0 });
  assert.deepEqual(names(bySubscribers), ["read", "stored/00"]);
  const byStored = await ask(server, "channels?sort=stored&order=descending&limit=1");
  const [{ last, ...row }] = byStored.body.rows;
  assert.deepEqual(row, { channel: "stored/07", subscribers: 0, rate: 0, stored: 2 });
  assert.deepEqual([last.text, last.offset, last.size], ["the newest", 2, 10]);
  const byName = await ask(server, "channels?sort=channel&offset=29&limit=5&filter=STORED");
  assert.deepEqual([byName.body.total, names(byName)], [30, ["stored/29"]]);
  assert.match((await ask(server, "channels?sort=size")).body.detail, /sort must be one of/);
  assert.match((await ask(server, "channels?limit=1000")).body.detail, /limit must be a whole number/);
});

Deno.test("The inspector pages through more channels than it sorts at once", async () => {
  await using server = await startApp();
  const { hub } = server.app;
  const names = Array.from({ length: 5_000 }, (_, i) => `c${(i * 7_919) % 5_000}`);
  await Promise.all(names.map((channel) => hub.publish({ channel, payload: { kind: "text", text: "x" } })));
  const sorted = names.toSorted();
  for (const offset of [0, 2_500, 4_990]) {
    const { body } = await ask(server, `channels?sort=channel&offset=${offset}&limit=10`);
    assert.equal(body.total, 5_000);
    assert.deepEqual(
      body.rows.map(({ channel }: { channel: string }) => channel),
      sorted.slice(offset, offset + 10),
    );
  }
});

Deno.test("The inspector's stream tells what the server has done, and what it refused", async () => {
  await using server = await startApp();
  await using _reader = await TestSocket.open(`${server.socketUrl}/news`);
  await post(server, "news", "it rains");
  await post(server, "_mine", "no");
  await using lines = await Lines.open(server, "stream");
  const first = await lines.next();
  const { totals } = first;
  assert.deepEqual([totals.published, totals.delivered, totals.publishedBytes], [1, 1, 8]);
  assert.deepEqual(totals.connections.plain, { opened: 1, open: 1 });
  assert.deepEqual(totals.refusals, { bad_channel: 1 });
  assert.deepEqual([first.refusals.length, first.missed], [1, 0]);
  assert.deepEqual([first.refusals[0].reason, first.refusals[0].what], ["bad_channel", "POST /_mine"]);
  assert.equal(first.nodes.length, 1);
  const second = await lines.next();
  assert.deepEqual([second.samples.length, second.refusals], [1, []], "each refusal is told once");
  assert.equal(second.samples[0].connections, 1);
  assert.ok(second.samples[0].memory > 0);
});

Deno.test("The inspector's tail shows some of a flood, says how many more there were, and loses none while calm", async () => {
  await using server = await startApp();
  const { hub } = server.app;
  const publish = (text: string) => hub.publish({ channel: "news", payload: { kind: "text", text } });
  await publish("stored");
  await using tail = await Lines.open(server, "tail?channel=news");
  const first = await tail.next();
  assert.deepEqual([first.messages.map(({ text }: { text: string }) => text), first.missed], [["stored"], 0]);
  await publish("a");
  await publish("x".repeat(50_000));
  let shown = (await tail.next()).messages;
  while (shown.length < 2) shown = [...shown, ...(await tail.next()).messages];
  assert.deepEqual([shown[0].text, shown[1].text.length, shown[1].size], ["a", 1_000, 50_000]);

  await Promise.all(Array.from({ length: 1_000 }, (_, i) => publish(String(i))));
  let [count, missed, newest] = [0, 0, ""];
  while (count + missed < 1_000) {
    const line = await tail.next();
    assert.ok(line.messages.length <= 20);
    count += line.messages.length;
    missed += line.missed;
    newest = line.messages.at(-1).text;
  }
  assert.deepEqual([count + missed, newest], [1_000, "999"]);
});

Deno.test("The inspector's tail shows what is published while it reads the newest messages, once", async () => {
  await using server = await startApp();
  const { hub } = server.app;
  const publish = (text: string) => hub.publish({ channel: "news", payload: { kind: "text", text } });
  await publish("stored");
  const read = hub.read.bind(hub);
  hub.read = async (query) => {
    await publish("before the page");
    const page = await read(query);
    await publish("after the page");
    return page;
  };
  await using tail = await Lines.open(server, "tail?channel=news");
  await publish("live");
  const shown: string[] = [];
  while (shown.at(-1) !== "live") {
    for (const { text } of (await tail.next()).messages) shown.push(text);
  }
  assert.deepEqual(shown, ["stored", "before the page", "after the page", "live"]);
});

Deno.test("The inspector finds a client, shows it, and disconnects it alone", async () => {
  await using server = await startApp();
  await using anna = await TestSocket.open(`${server.socketUrl}/news?name=Anna&id=a`);
  await using ben = await TestSocket.open(`${server.socketUrl}/news?name=Ben&id=b`);
  const { body: { rows, total } } = await ask(server, "clients?filter=ANN");
  assert.equal(total, 1);
  const [{ connection, since, ...rest }] = rows;
  assert.ok(Date.now() - since < 60_000);
  assert.deepEqual(rest, { id: "a", name: "Anna", protocol: "plain", address: "127.0.0.1" });
  const { body: details } = await ask(server, `client?connection=${connection}`);
  assert.deepEqual([details.subscriptions, details.subscriptionCount, details.queuedBytes], [["news"], 1, 0]);
  const { body: channel } = await ask(server, "channel?channel=news");
  assert.deepEqual(channel.readers.map(({ name }: { name: string }) => name), ["Anna", "Ben"]);

  assert.equal((await ask(server, `disconnect?connection=${connection}`, { method: "POST" })).status, 200);
  assert.deepEqual(await anna.closed, { code: 4403, reason: "Disconnected by an operator" });
  assert.equal(server.app.hub.clientCount, 1);
  assert.equal(ben.webSocket.readyState, WebSocket.OPEN);
  const gone = await ask(server, `client?connection=${connection}`);
  assert.deepEqual([gone.status, gone.body.detail], [404, "That connection has ended"]);
});

Deno.test("A draining server ends the inspector's streams", async () => {
  await using server = await startApp();
  await using lines = await Lines.open(server, "stream");
  await using tail = await Lines.open(server, "tail?channel=news");
  assert.ok(await lines.next());
  assert.ok(await tail.next());
  server.app.drain();
  assert.equal(await lines.next(), undefined);
  assert.equal(await tail.next(), undefined);
});

Deno.test("A HEAD of the inspector's streams leaves none of them open", async () => {
  await using server = await startApp();
  const { hub } = server.app;
  const observe = hub.observe.bind(hub);
  let observers = 0;
  hub.observe = (take) => {
    observers++;
    const ignore = observe(take);
    return () => {
      observers--;
      ignore();
    };
  };
  assert.equal((await ask(server, "tail?channel=a", { method: "HEAD" })).status, 200);
  assert.equal(observers, 0);
});
