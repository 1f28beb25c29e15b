/** What the benchmark asks of the load generator, and what comes back: both travel as JSON. */
import type { Cost } from "../measure.ts";
import type { Endpoint } from "./endpoint.ts";

interface Target {
  readonly port: number;
  /** Processes whose CPU time counts as the server's. */
  readonly pids: readonly number[];
}

/** Messages in flight, and their size in bytes. */
export interface Load {
  readonly inFlight: number;
  readonly size: number;
}

interface Timed {
  readonly warmUpMilliseconds: number;
  readonly milliseconds: number;
}

/** One publisher, all readers on its channel. A rate is deliveries a second. */
export interface FanOutJob extends Target, Timed {
  readonly kind: "fan-out";
  readonly reader: Endpoint;
  readonly publisher: Endpoint;
  readonly readers: number;
  readonly loads: readonly Load[];
}

/** Connections that POST a message at a time, each to one reader. A rate is messages stored and delivered a second. */
export interface PostJob extends Target, Timed {
  readonly kind: "post";
  readonly reader: Endpoint;
  readonly publisher: Endpoint;
  readonly loads: readonly Load[];
}

/** Channels with a publisher and readers each, all with one message in flight. A rate is deliveries a second. */
export interface ChannelsJob extends Target, Timed {
  readonly kind: "channels";
  readonly reader: Endpoint;
  readonly publisher: Endpoint;
  readonly channels: number;
  readonly readersPerChannel: number;
  readonly size: number;
}

/** Connections opened one after another. A rate is connections a second. */
export interface ConnectJob extends Target {
  readonly kind: "connect";
  readonly reader: Endpoint;
  readonly count: number;
}

/** Connections that do nothing. */
export interface IdleJob extends Target {
  readonly kind: "idle";
  readonly reader: Endpoint;
  readonly count: number;
  readonly settleMilliseconds: number;
}

/** Messages published at fixed moments, whatever has become of earlier ones. */
export interface LatencyJob extends Target, Timed {
  readonly kind: "latency";
  readonly reader: Endpoint;
  readonly publisher: Endpoint;
  readonly readers: number;
  readonly perSecond: number;
  readonly size: number;
}

export type Job = FanOutJob | PostJob | ChannelsJob | ConnectJob | IdleJob | LatencyJob;

export interface RateResult {
  readonly rate: number;
  readonly cost: Cost | undefined;
}

export interface MemoryResult {
  /** Bytes of the server for each connection, as the operating system counts them (VmRSS). */
  readonly bytesPerConnection: number;
}

export interface LatencyResult extends RateResult {
  /** In milliseconds, from the moment a message was due. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly worst: number;
}

/** A result for each load. */
export interface Results {
  readonly "fan-out": readonly RateResult[];
  readonly post: readonly RateResult[];
  readonly channels: RateResult;
  readonly connect: RateResult;
  readonly idle: MemoryResult;
  readonly latency: LatencyResult;
}
