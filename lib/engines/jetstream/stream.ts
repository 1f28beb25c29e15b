/** Creates the stream of the JetStream engine, or checks the existing one. */
import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import type { StreamRecord } from "./record.ts";
import type { JetStreamSubjects } from "./subject.ts";
import { createEpoch } from "../stamp.ts";

/** How long the server remembers the id of a record, in nanoseconds: much longer than records are resent. */
const DUPLICATE_WINDOW = 60 * 1_000_000_000;

/** "stream name already in use", https://github.com/nats-io/nats-server/blob/main/server/errors.json */
const NAME_IN_USE = 10058;

/**
 * Followers elect another leader at least 4 s after they last heard of one (minElectionTimeout in
 * https://github.com/nats-io/nats-server/blob/main/server/raft.go).
 */
const LEASE_NANOSECONDS = 3 * 1_000_000_000;
/** A leader that hears of nobody steps down after 10 s (lostQuorumInterval). */
const STALE_MILLISECONDS = 10_000;
const ASK_AGAIN_MILLISECONDS = 250;

export interface OpenedStream {
  readonly config: StreamConfig;
  readonly epoch: string;
  /** The newest record that the stream had when its epoch began; undefined where an operator wrote the epoch. */
  readonly begins: number | undefined;
  /** The number of records it holds, and the sequence of the newest it ever had. */
  readonly messages: number;
  readonly last: number;
  readonly warnings: readonly string[];
}

export interface StreamOptions {
  readonly stream: string;
  readonly replicas: number;
  readonly subjects: JetStreamSubjects;
}

/**
 * @throws {Error} of the server, or why the existing stream cannot be used
 */
export async function openStream(manager: JetStreamManager, options: StreamOptions): Promise<OpenedStream> {
  try {
    return check(await readInfo(manager, options.stream), options);
  } catch (error) {
    if (!hasCode(error, JetStreamApiCodes.StreamNotFound)) throw error;
  }
  try {
    return check(
      await manager.streams.add({
        name: options.stream,
        description: describeEpoch(createEpoch(), 0),
        subjects: [...options.subjects.stored],
        storage: StorageType.File,
        num_replicas: options.replicas,
        retention: RetentionPolicy.Limits,
        discard: DiscardPolicy.New,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
      }),
      options,
    );
  } catch (error) {
    // Another node has created it in the meantime.
    if (!hasCode(error, NAME_IN_USE)) throw error;
    return check(await readInfo(manager, options.stream), options);
  }
}

/**
 * Gives the stream a new epoch, after it has lost acknowledged messages.
 *
 * @throws errors of the server
 */
export async function renewEpoch(
  manager: JetStreamManager,
  { config, last }: OpenedStream,
): Promise<OpenedStream> {
  const { name, num_replicas: replicas, subjects } = config;
  const info = await manager.streams.update(name, { description: describeEpoch(createEpoch(), last) });
  return check(info, { stream: name, replicas, subjects: { stored: subjects } });
}

/**
 * The epoch of a stream, or undefined if its description has none, and its newest record.
 *
 * @throws errors of the server
 */
export async function readEpoch(
  manager: JetStreamManager,
  stream: string,
): Promise<{ readonly epoch: string | undefined; readonly last: number }> {
  const { config, state } = await manager.streams.info(stream);
  return { epoch: findEpoch(config), last: state.last_seq };
}

/**
 * The newest record that the stream holds now.
 *
 * @throws errors of the server
 */
export async function findLast(manager: JetStreamManager, stream: string): Promise<number> {
  return (await readInfo(manager, stream)).state.last_seq;
}

/**
 * What a leader says of the stream. One that was frozen or cut off does not know that others have taken its place, and
 * what was stored since, but says how long ago it heard of them: its answer counts only if no other can have been
 * elected meanwhile. If there is no better one, it is believed nevertheless.
 */
async function readInfo(manager: JetStreamManager, stream: string): Promise<StreamInfo> {
  for (const start = performance.now();;) {
    const info = await manager.streams.info(stream);
    if (hasMajority(info) || performance.now() - start > STALE_MILLISECONDS) return info;
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MILLISECONDS));
  }
}

/** Whether who answers has heard of a majority lately. */
function hasMajority({ cluster }: StreamInfo): boolean {
  const replicas = cluster?.replicas ?? [];
  const heard = replicas.filter(({ active }) => active < LEASE_NANOSECONDS);
  return (heard.length + 1) * 2 > replicas.length + 1;
}

/**
 * Whether the stream has another record at this sequence; false if it was purged.
 *
 * @throws errors of the server
 */
export async function isReplaced(
  manager: JetStreamManager,
  stream: string,
  { sequence, id }: Pick<StreamRecord, "sequence" | "id">,
): Promise<boolean> {
  const message = await manager.streams.getMessage(stream, { seq: sequence });
  return message !== null && message.header.get("Nats-Msg-Id") !== id;
}

function hasCode(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}

function describeEpoch(epoch: string, begins: number): string {
  return `Raindrops log, epoch ${epoch} (write another epoch here after restoring a backup); ` +
    `${epoch} begins after record ${begins}`;
}

/** Where an epoch begins, as its description says; undefined if somebody has written another epoch there. */
function findBeginning(
  { description }: Pick<StreamConfig, "description">,
  epoch: string,
): number | undefined {
  const [, named, record] = /; ([A-Za-z0-9]+) begins after record (\d{1,15})$/.exec(description ?? "") ?? [];
  return named === epoch ? Number(record) : undefined;
}

function findEpoch({ description }: Pick<StreamConfig, "description">): string | undefined {
  return /\bepoch ([A-Za-z0-9]+)/.exec(description ?? "")?.[1];
}

function check(
  { config, state }: StreamInfo,
  { stream, replicas, subjects }: Omit<StreamOptions, "subjects"> & {
    subjects: Pick<JetStreamSubjects, "stored">;
  },
): OpenedStream {
  const epoch = findEpoch(config);
  const missing = subjects.stored.filter((subject) => !config.subjects?.includes(subject));
  if (epoch === undefined || missing.length > 0) {
    throw new Error(
      `the stream "${stream}" does not belong to Raindrops: choose another name with ?stream=NAME`,
    );
  }
  if (config.max_age > 0 || config.max_msgs_per_subject > 0 || config.discard !== DiscardPolicy.New) {
    throw new Error(
      `the stream "${stream}" removes messages by itself, and offsets would be lost: unset max_age and ` +
        'max_msgs_per_subject, and set discard to "new"',
    );
  }
  const warnings = config.num_replicas === replicas ? [] : [
    `The stream "${stream}" has ${config.num_replicas} replicas instead of ${replicas}: it is not changed`,
  ];
  return {
    config,
    epoch,
    begins: findBeginning(config, epoch),
    messages: state.messages,
    last: state.last_seq,
    warnings,
  };
}
