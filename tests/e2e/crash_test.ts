/**
 * The promise of the whole house: the server is killed without warning, over and over, while publishers publish and
 * readers read. Nothing acknowledged is lost or stored twice, and readers that resume by themselves miss nothing.
 */
import assert from "node:assert/strict";
import {
  END,
  type Place,
  publish,
  readEvents,
  readLines,
  readStored,
  type Stored,
} from "../persistent_clients.ts";
import { type ServerProcess, startServer } from "../server_process.ts";

const CRASHES = 20;
const CHANNELS = ["crash/a", "crash/b", "crash/c"];
const PUBLISHERS_PER_CHANNEL = 3;
/** A crash comes after so many acknowledged messages: from the first to the last of these. */
const ACKNOWLEDGED_BEFORE_CRASH = [20, 120] as const;

/** The server that crashes, and how to wait until it is back. */
class CrashingServer implements Place {
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
  ready(): Promise<void> {
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

/** Publishes without pause until the last crash is over. */
async function publishAlong(server: CrashingServer, channel: string, name: string): Promise<Stored[]> {
  const acknowledged: Stored[] = [];
  for (let i = 0; server.crashes < CRASHES; i++) {
    acknowledged.push(await publish(server, channel, `${name}-${i}`));
    server.count();
  }
  return acknowledged;
}

Deno.test(`Nothing acknowledged is lost, doubled or missed over ${CRASHES} crashes`, async () => {
  const folder = await Deno.makeTempDir();
  const rules = `${folder}/rules.json`;
  await Deno.writeTextFile(
    rules,
    JSON.stringify([{ channels: "crash/*", history: { messages: 1_000_000 } }]),
  );
  await using child = await startServer({
    flags: ["--engine", `sqlite:${folder}/raindrops.db`, "--rules", rules],
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
