/** What a cluster is given, and what it uses where it is given nothing. */
import type { Schedule } from "../../base/turn.ts";
import type { Logger } from "../logger.ts";
import type { Bus } from "./bus.ts";

export interface ClusterOptions {
  readonly bus: Bus;
  /** The id of this run of this node: unique among all runs, of letters, digits and "-". */
  readonly node: string;
  /** The process that this node is a thread of, by the id of its engine's thread; left out where it has no others. */
  readonly process?: string | undefined;
  readonly logger: Logger;
  /** A monotonic clock in milliseconds. */
  readonly now?: () => number;
  /** Runs a task at an interval in milliseconds; returns a function that stops it. */
  readonly every?: (milliseconds: number, task: () => void) => () => void;
  readonly schedule?: Schedule;
}

/** Runs a task at an interval; returns a function that stops it. */
export function repeat(milliseconds: number, task: () => void): () => void {
  const timer = setInterval(task, milliseconds);
  return () => clearInterval(timer);
}
