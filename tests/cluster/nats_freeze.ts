/**
 * What NATS alone makes of a server that freezes: a stream with three copies on three servers, publishers that repeat each
 * message with the same `Nats-Msg-Id` until it is acknowledged, and a leader that stands still until others have elected
 * another. Afterwards the three copies must be the same, and hold each acknowledged message once, under the sequence of
 * its acknowledgement.
 *
 * `deno task freeze:nats [ROUNDS] [--plain]`; `--plain` leaves `Nats-Msg-Id` out. There is nothing of Raindrops in it. The
 * `nats-server` is the one on the PATH. Ends with status 1 if the copies differ or something acknowledged is lost.
 */
import { jetstreamManager, StorageType } from "@nats-io/jetstream";
import { connect, createInbox, headers } from "@nats-io/transport-node";
import { NatsCluster } from "../nats_cluster.ts";
import { describeDifferences, readSettledCopies } from "./nats_copies.ts";

const STREAM = "test";
const SUBJECT = "test.a";
const CONNECTIONS = 2;
const PUBLISHERS = 4;
/** Milliseconds before a message is sent again, and between two messages of a publisher. */
const RESEND = 1_000;
const PAUSE = 5;
/** How long the leader stands still, in turn: longer than it takes to elect another. */
const FROZEN = [14_000, 7_000];
const BETWEEN = 1_500;
const DUPLICATE_WINDOW = 60 * 1_000_000_000;

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** Publishes one message after the other until it is stopped, and notes the sequences of their acknowledgements. */
async function publishOn(hosts: string, name: string, isPlain: boolean, acknowledged: Map<string, number>) {
  const connection = await connect({
    servers: hosts.split(","),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    pingInterval: 2_000,
    maxPingOut: 2,
  });
  const inbox = createInbox();
  const waiting = new Map<string, (sequence: number) => void>();
  connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      if (error !== null || message.headers?.hasError) return;
      const { seq } = message.json<{ readonly seq?: number }>();
      if (seq !== undefined) waiting.get(message.subject.slice(inbox.length + 1))?.(seq);
    },
  });
  let running = true;
  const publishers = Array.from({ length: PUBLISHERS }, async (_, i) => {
    for (let n = 0; running; n++) {
      const id = `${name}-p${i}-${n}`;
      const fields = headers();
      fields.set(isPlain ? "Id" : "Nats-Msg-Id", id);
      const { promise, resolve } = Promise.withResolvers<number>();
      waiting.set(id, resolve);
      const send = () => {
        if (!connection.isClosed()) {
          connection.publish(SUBJECT, id, { headers: fields, reply: `${inbox}.${id}` });
        }
      };
      send();
      const timer = setInterval(send, RESEND);
      acknowledged.set(id, await promise);
      clearInterval(timer);
      waiting.delete(id);
      await sleep(PAUSE);
    }
  });
  return async () => {
    running = false;
    await Promise.all(publishers);
    await connection.close();
  };
}

/** The name of the server that leads the stream, once one does. */
async function findLeader(hosts: string): Promise<string> {
  const connection = await connect({ servers: hosts.split(",") });
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 2_000 });
    for (;;) {
      try {
        const { cluster } = await manager.streams.info(STREAM);
        if (cluster?.leader) return cluster.leader;
      } catch {
        // It is being elected.
      }
      await sleep(100);
    }
  } finally {
    await connection.close();
  }
}

async function main(rounds: number, isPlain: boolean): Promise<number> {
  await using nats = await NatsCluster.start(3);
  const { hosts, servers } = nats;
  const connection = await connect({ servers: hosts.split(",") });
  const manager = await jetstreamManager(connection, { checkAPI: false });
  await manager.streams.add({
    name: STREAM,
    subjects: [`${STREAM}.>`],
    storage: StorageType.File,
    num_replicas: 3,
    duplicate_window: DUPLICATE_WINDOW,
  });
  await connection.close();
  const acknowledged = new Map<string, number>();
  const stops = await Promise.all(
    Array.from({ length: CONNECTIONS }, (_, i) => publishOn(hosts, `c${i}`, isPlain, acknowledged)),
  );
  for (let round = 0; round < rounds; round++) {
    await sleep(BETWEEN);
    const name = await findLeader(hosts);
    const leader = servers.find((server) => server.name === name);
    leader?.signal("SIGSTOP");
    await sleep(FROZEN[round % FROZEN.length]!);
    leader?.signal("SIGCONT");
  }
  await sleep(2 * BETWEEN);
  for (const stop of stops) await stop();

  const copies = await readSettledCopies(hosts, STREAM, servers.length);
  const lines = describeDifferences(copies);
  for (const [name, copy] of copies) {
    const found = new Set(copy.values());
    const lost = [...acknowledged.keys()].filter((id) => !found.has(id)).length;
    const moved = [...acknowledged].filter(([id, seq]) => found.has(id) && copy.get(seq) !== id).length;
    if (lost > 0) lines.push(`${lost} acknowledged messages are not in the copy of ${name}`);
    if (moved > 0) lines.push(`${moved} are there under another sequence than was acknowledged`);
  }
  console.log(`${rounds} freezes of the leader, ${acknowledged.size} acknowledged messages`);
  for (const line of lines) console.log(line);
  if (lines.length === 0) console.log("The copies are the same, and hold all that was acknowledged");
  return lines.length === 0 ? 0 : 1;
}

if (Deno.args.includes("--help")) {
  console.log(
    `Freezes the leader of a NATS stream, five rounds if none are given, and compares the servers' copies.

Usage: deno task freeze:nats [ROUNDS] [--plain]

  --plain  publish without Nats-Msg-Id
  --help   print this and exit`,
  );
  Deno.exit(0);
}
const isPlain = Deno.args.includes("--plain");
const status = await main(Number(Deno.args.find((arg) => !arg.startsWith("--")) ?? 5), isPlain);
Deno.exit(status);
