/**
 * Reads what each server of a NATS cluster has in its own copy of a stream, without Raindrops: where the copies differ, NATS
 * has broken its promise, and nothing above it can hold.
 */
import { AckPolicy, DeliverPolicy, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, createInbox, type NatsConnection } from "@nats-io/transport-node";

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** The bodies of a copy's messages by their sequences, read as text. */
export type StreamCopy = ReadonlyMap<number, string>;

/** Places that are shown of a difference. */
const SHOWN = 3;
/** Consumers are placed by chance: so many are tried until each server had one. */
const TRIES = 100;
const RETRY_MILLISECONDS = 250;
/** How often copies are read that differ, and how long a server has to catch up in between, in milliseconds. */
const READS = 3;
const SETTLE_MILLISECONDS = 5_000;
const HEARTBEAT_NANOSECONDS = 1_000_000_000;

/**
 * Reads the copies until they are the same, or for so long that they will not be any more.
 *
 * @param count how many servers there are
 * @returns the copies by the names of their servers
 * @throws {Error} if a server gives none
 */
export async function readSettledCopies(
  hosts: string,
  stream: string,
  count: number,
): Promise<ReadonlyMap<string, StreamCopy>> {
  const connection = await connect({ servers: hosts.split(","), maxReconnectAttempts: -1 });
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    for (let i = 1;; i++) {
      const copies = await readCopies(connection, manager, stream, count);
      if (i === READS || describeDifferences(copies).length === 0) return copies;
      await sleep(SETTLE_MILLISECONDS);
    }
  } finally {
    await connection.close();
  }
}

async function readCopies(
  connection: NatsConnection,
  manager: JetStreamManager,
  stream: string,
  count: number,
): Promise<ReadonlyMap<string, StreamCopy>> {
  const copies = new Map<string, StreamCopy>();
  for (let i = 0; i < TRIES; i++) {
    const deliver = createInbox();
    const read = readAll(connection, deliver);
    try {
      const { name, cluster } = await manager.consumers.add(stream, {
        deliver_policy: DeliverPolicy.All,
        ack_policy: AckPolicy.None,
        deliver_subject: deliver,
        idle_heartbeat: HEARTBEAT_NANOSECONDS,
        flow_control: true,
        max_deliver: 1,
        mem_storage: true,
        num_replicas: 1,
      });
      const server = cluster?.leader ?? "";
      if (server !== "" && !copies.has(server)) copies.set(server, await read.done);
      if (copies.size === count) return copies;
      await manager.consumers.delete(stream, name);
    } catch (error) {
      // A leader is being elected.
      if (i === TRIES - 1) throw error;
      await sleep(RETRY_MILLISECONDS);
    } finally {
      read.stop();
    }
  }
  throw new Error(`only ${[...copies.keys()].join(" and ")} gave their copies of the stream`);
}

/** Collects what a push consumer delivers, until a heartbeat says that it is idle. */
function readAll(connection: NatsConnection, subject: string) {
  const messages = new Map<number, string>();
  const { promise: done, resolve } = Promise.withResolvers<StreamCopy>();
  const subscription = connection.subscribe(subject, {
    callback: (error, message) => {
      if (error !== null) return;
      if (message.headers?.code === 100) {
        if (message.reply) message.respond();
        const delivered = message.headers.get("Nats-Last-Consumer");
        if (delivered !== "" && Number(delivered) === messages.size) {
          subscription.unsubscribe();
          resolve(messages);
        }
        return;
      }
      const tokens = message.reply?.split(".") ?? [];
      messages.set(Number(tokens[tokens.length === 9 ? 5 : 7]), message.string());
    },
  });
  const stop = () => subscription.unsubscribe();
  return { done, stop };
}

/** Where the copies differ, in lines; empty if they are the same. */
export function describeDifferences(copies: ReadonlyMap<string, StreamCopy>): string[] {
  const [[first, one], ...others] = [...copies] as [[string, StreamCopy], ...[string, StreamCopy][]];
  return others.flatMap(([name, other]) => {
    const sequences = [...new Set([...one.keys(), ...other.keys()])].sort((a, b) => a - b);
    const different = sequences.filter((sequence) => one.get(sequence) !== other.get(sequence));
    if (different.length === 0) return [];
    const shown = different.slice(0, SHOWN).map((sequence) =>
      `${sequence} (${quote(one.get(sequence))}, ${quote(other.get(sequence))})`
    );
    return [
      `${first} and ${name} differ in ${different.length} of ${sequences.length} sequences: ${
        shown.join(", ")
      }`,
    ];
  });
}

function quote(text: string | undefined): string {
  return text === undefined ? "nothing" : JSON.stringify(text.slice(-20));
}
