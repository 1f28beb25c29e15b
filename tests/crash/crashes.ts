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

const CHANNELS = ["crash/a", "crash/b", "crash/c"];
const PUBLISHERS_PER_CHANNEL = 3;
/** A crash comes after so many acknowledged messages: from the first to the last of these. */
const ACKNOWLEDGED_BEFORE_CRASH = [20, 120] as const;

/** The server that crashes, and how to wait until it is back. */
class CrashingServer implements Place {
  readonly #server: ServerProcess;
  /** How often it is to crash. */
  readonly goal: number;
  #up = Promise.resolve();
  #untilCrash = pickCrash();
  crashes = 0;

  constructor(server: ServerProcess, goal: number) {
    this.#server = server;
    this.goal = goal;
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
    if (--this.#untilCrash > 0 || this.crashes >= this.goal) return;
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
  for (let i = 0; server.crashes < server.goal; i++) {
    acknowledged.push(await publish(server, channel, `${name}-${i}`));
    server.count();
  }
  return acknowledged;
}

/** What a run of crashes came to. */
export interface CrashFigures {
  readonly crashes: number;
  /** Messages that were acknowledged. */
  readonly acknowledged: number;
  readonly seconds: number;
}

/**
 * Kills a SQLite server so often, each time at another moment of its work.
 *
 * @throws {AssertionError} if an acknowledged message is lost, stored twice, or missed by a reader
 */
export async function runCrashes(kills: number): Promise<CrashFigures> {
  const start = performance.now();
  const folder = await Deno.makeTempDir();
  const rules = `${folder}/rules.json`;
  await Deno.writeTextFile(
    rules,
    JSON.stringify([{ channels: "crash/*", history: { messages: 1_000_000 } }]),
  );
  await using child = await startServer({
    flags: ["--engine", `sqlite:${folder}/raindrops.db`, "--rules", rules],
  });
  const server = new CrashingServer(child, kills);

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
  assert.equal(server.crashes, kills);
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
  return {
    crashes: server.crashes,
    acknowledged: acknowledged.length,
    seconds: (performance.now() - start) / 1_000,
  };
}
