/**
 * The promise of the whole house: the server is killed without warning, over and over, while publishers publish and
 * readers read. Nothing acknowledged is lost or stored twice, and readers that resume by themselves miss nothing.
 */
import assert from "node:assert/strict";
import { type ServerProcess, startServer } from "../server_process.ts";

const CRASHES = 20;
const CHANNELS = ["crash/a", "crash/b", "crash/c"];
const PUBLISHERS_PER_CHANNEL = 3;
/** A crash comes after so many acknowledged messages: from the first to the last of these. */
const ACKNOWLEDGED_BEFORE_CRASH = [20, 120] as const;
const END = "end";

interface Stored {
  readonly channel: string;
  readonly id: string;
  readonly offset: number;
  readonly data: string;
}

/** The server that crashes, and how to wait until it is back. */
class CrashingServer {
  readonly #server: ServerProcess;
  #up = Promise.resolve();
  #untilCrash = pickCrash();
  crashes = 0;

  constructor(server: ServerProcess) {
    this.#server = server;
  }

  get url(): string {
    return this.#server.url;
  }

  /** Resolves when the server is up, as far as anybody knows. */
  get up(): Promise<void> {
    return this.#up;
  }

  /** Counts an acknowledged message, and crashes the server when it was one too many. */
  count(): void {
    if (--this.#untilCrash > 0 || this.crashes >= CRASHES) return;
    this.#untilCrash = pickCrash();
    this.crashes++;
    // A moment of its own: not always the one of an acknowledgement.
    const moment = new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
    this.#up = moment.then(() => this.#server.kill()).then(() => this.#server.start());
  }
}

function pickCrash(): number {
  const [least, most] = ACKNOWLEDGED_BEFORE_CRASH;
  return least + Math.floor(Math.random() * (most - least));
}

/** Publishes one message, as often as it takes until it is acknowledged. */
async function publish(server: CrashingServer, channel: string, data: string): Promise<Stored> {
  while (true) {
    await server.up;
    try {
      const response = await fetch(`${server.url}/${channel}`, {
        method: "POST",
        body: data,
        headers: { "idempotency-key": data },
      });
      const { id, offset } = await response.json();
      if (response.ok) return { channel, id, offset, data };
    } catch (error) {
      // The connection broke, or was never made: nobody knows whether the message is stored.
      if (!(error instanceof TypeError)) throw error;
    }
  }
}

/** Publishes without pause until the last crash is over. */
async function publishAlong(server: CrashingServer, channel: string, name: string): Promise<Stored[]> {
  const acknowledged: Stored[] = [];
  for (let i = 0; server.crashes < CRASHES; i++) {
    acknowledged.push(await publish(server, channel, `${name}-${i}`));
    server.count();
  }
  return acknowledged;
}

/** What a reader saw: ids and texts in order of arrival, and how often it was told of a gap. */
interface Seen {
  readonly messages: { id: string; data: string }[];
  gaps: number;
}

/** Reads lines of a stream, and connects again whenever it breaks, until `read` says that it has seen the end. */
async function follow(
  server: CrashingServer,
  path: () => string,
  headers: () => Record<string, string>,
  read: (line: string) => boolean,
): Promise<void> {
  while (true) {
    await server.up;
    const abort = new AbortController();
    try {
      const response = await fetch(server.url + path(), { headers: headers(), signal: abort.signal });
      let unfinished = "";
      for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
        const lines = (unfinished + text).split("\n");
        unfinished = lines.pop() ?? "";
        // A line that was cut off by the crash is not read: its message comes again.
        if (lines.some(read)) return;
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    } finally {
      abort.abort();
    }
  }
}

/** An EventSource by the book: remembers the last id of a whole event and sends it when it reconnects. */
async function readEvents(server: CrashingServer, path: string, ends: number): Promise<Seen> {
  const seen: Seen = { messages: [], gaps: 0 };
  let lastEventId = "";
  let event = { id: "", name: "", data: "" };
  const headers = () => ({
    accept: "text/event-stream",
    ...(lastEventId === "" ? {} : { "last-event-id": lastEventId }),
  });
  await follow(
    server,
    () => {
      event = { id: "", name: "", data: "" };
      return path;
    },
    headers,
    (line) => {
      if (line.startsWith("id: ")) event.id = line.slice(4);
      else if (line.startsWith("event: ")) event.name = line.slice(7);
      else if (line.startsWith("data: ")) event.data = line.slice(6);
      else if (line === "") {
        if (event.id !== "") lastEventId = event.id;
        if (event.name === "gap") seen.gaps++;
        else if (event.data !== "") seen.messages.push({ id: event.id, data: event.data });
        if (event.data.startsWith(END)) ends--;
        event = { id: "", name: "", data: "" };
      }
      return ends === 0;
    },
  );
  return seen;
}

/** A follower that resumes with the id of the last line it has read. */
async function readLines(server: CrashingServer, path: string, ends: number): Promise<Seen> {
  const seen: Seen = { messages: [], gaps: 0 };
  let since = "earliest";
  await follow(server, () => `${path}?follow&since=${since}`, () => ({}), (line) => {
    if (line === "") return false;
    const message = JSON.parse(line);
    if (message.type === "gap") seen.gaps++;
    else {
      since = message.id;
      seen.messages.push({ id: message.id, data: message.data });
      if (message.data.startsWith(END)) ends--;
    }
    return ends === 0;
  });
  return seen;
}

/** All that is stored under a path, page by page. */
async function readStored(server: CrashingServer, path: string): Promise<Stored[]> {
  const stored: Stored[] = [];
  for (let since = "earliest", more = true; more;) {
    const response = await fetch(`${server.url}${path}?since=${since}`, {
      headers: { accept: "application/json" },
    });
    const page = await response.json();
    assert.equal(page.gap, undefined);
    stored.push(...page.messages);
    more = page.more === true;
    since = page.next;
  }
  return stored;
}

Deno.test(`Nothing acknowledged is lost, doubled or missed over ${CRASHES} crashes`, async () => {
  const folder = await Deno.makeTempDir();
  const rules = `${folder}/rules.json`;
  await Deno.writeTextFile(
    rules,
    JSON.stringify([{ channels: "crash/*", history: { messages: 1_000_000 } }]),
  );
  await using child = await startServer({
    flags: ["--log", `sqlite:${folder}/raindrops.db`, "--rules", rules],
  });
  const server = new CrashingServer(child);

  const all = CHANNELS.length;
  const readers = Promise.all([
    readEvents(server, "/crash/*?since=earliest", all),
    readEvents(server, `/${CHANNELS.join(",")}?since=earliest`, all),
    readEvents(server, "/crash/a?since=earliest", 1),
    readLines(server, "/crash/**", all),
    readLines(server, `/${CHANNELS.join(",")}`, all),
    readLines(server, "/crash/b", 1),
  ]);
  const names = Array.from({ length: PUBLISHERS_PER_CHANNEL }, (_, i) => `p${i}`);
  const publishers = CHANNELS.flatMap((channel) =>
    names.map((name) => publishAlong(server, channel, `${channel}-${name}`))
  );
  const acknowledged = (await Promise.all(publishers)).flat();
  assert.equal(server.crashes, CRASHES);
  for (const channel of CHANNELS) acknowledged.push(await publish(server, channel, `${END}-${channel}`));

  for (const channel of CHANNELS) {
    const stored = await readStored(server, `/${channel}`);
    assert.deepEqual(stored.map(({ offset }) => offset), stored.map((_, i) => i + 1), "offsets have holes");
    const expected = acknowledged.filter((message) => message.channel === channel);
    expected.sort((a, b) => a.offset - b.offset);
    assert.deepEqual(stored.map(({ id, offset, data }) => ({ channel, id, offset, data })), expected);
  }
  const stored = await readStored(server, "/crash/*");
  const seen = await readers;
  const paths = [CHANNELS, CHANNELS, ["crash/a"], CHANNELS, CHANNELS, ["crash/b"]];
  seen.forEach(({ messages, gaps }, i) => {
    const expected = stored.filter(({ channel }) => paths[i]?.includes(channel));
    assert.equal(gaps, 0, `reader ${i} was told of a gap`);
    assert.deepEqual(messages, expected.map(({ id, data }) => ({ id, data })), `reader ${i}`);
  });
  await child.stop();
  await Deno.remove(folder, { recursive: true });
});
